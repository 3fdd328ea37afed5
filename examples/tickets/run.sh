#!/bin/bash
# From 300 labeled tickets to a classifier in production, with documented commands only:
#
#     examples/tickets/run.sh DATA
#
# The argument is the folder that contains the folder banking77. MODEL names another model than the bundled one.
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
show promptkit eval tickets.csv --model "$model" --shots 0 --folds 5 --out monday

printf '\n# Tuesday: eight demonstrations and calibration.\n'
show promptkit eval tickets.csv --model "$model" --shots 8 --folds 5 --calibrate contextual,batch --out tuesday

printf '\n# Wednesday: a probe on the hidden states of the model. It is also fitted on all tickets and saved.\n'
show promptkit eval tickets.csv --model "$model" --shots 0 --folds 5 --calibrate linear --out wednesday --save queue-predictor

printf '\n# Thursday: what is better than what?\n'
monday=$(echo monday/*) tuesday=$(echo tuesday/*) wednesday=$(echo wednesday/*)
show promptkit compare "$wednesday:tfidf" "$monday" "$tuesday:batch" "$wednesday:linear"

printf '\n# Friday: predict new tickets. Unsure ones go to a person, so that at most one in ten answers is wrong.\n'
show promptkit predict queue-predictor new.csv -o predicted.csv --risk 0.1
show head -n 3 predicted.csv
show python "$here/check.py" predicted.csv new_gold.csv
