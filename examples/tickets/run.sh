#!/bin/bash
# From 300 labeled tickets to a classifier in production, with documented commands only:
#
#     examples/tickets/run.sh shared
#
# The argument is the folder that contains banking77. MODEL names another model than the bundled one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
model=${MODEL:-demo}
data=$(cd "${1:?the folder that contains banking77}" && pwd)
work=${2:-tickets-example}
mkdir -p "$work" && cd "$work"

show() { # prints a command, then runs it
    printf '\n$ %s\n' "$*"
    "$@"
}

show python "$here/make_data.py" --data "$data" || exit $?
show head -n 3 tickets.csv

printf '\n# Monday: the file as it is, without demonstrations. What does the model read, and how good is it?\n'
show promptkit render tickets.csv --model "$model" --shots 0 --n 1
show promptkit eval tickets.csv --model "$model" --shots 0 --out monday

printf '\n# Tuesday: demonstrations, the same for every ticket, and similar ones.\n'
show promptkit eval tickets.csv --model "$model" --shots 8 --demos balanced --out tuesday
show promptkit eval tickets.csv --model "$model" --shots 8 --demos similar --out tuesday-similar

printf '\n# Wednesday: calibration, and a probe on the hidden states of the model.\n'
show promptkit eval tickets.csv --model "$model" --shots 0 --calibrate contextual,batch,hidden --per-class 0 --out wednesday

printf '\n# Thursday: what is better than what?\n'
show promptkit compare monday/* tuesday/* tuesday-similar/* wednesday/*:hidden wednesday/*:tfidf

printf '\n# Friday: save the best one with its estimate, and predict new tickets. Unsure tickets go to a person.\n'
show promptkit eval tickets.csv --model "$model" --shots 0 --calibrate hidden --per-class 0 --out friday --save queue-predictor
show promptkit predict queue-predictor new.csv -o predicted.csv --risk 0.1
show head -n 3 predicted.csv
show python "$here/check.py" predicted.csv new_gold.csv
