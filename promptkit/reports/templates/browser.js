{
  const PAGE = 50;
  const root = document.getElementById("browser");
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(key, "");
      else if (value !== false && value !== undefined && value !== null) element.setAttribute(key, String(value));
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };

  const start = (data) => {
    const names = (row) => (data.labels.length ? data.labels : row.choices || []);
    const several = data.runs.length > 1;
    const branchName = (branch) => (several ? `${data.runs[branch.run]} · ${branch.name}` : branch.name);
    const margin = (answer) => {
      if (answer[2].length < 2) return null;
      const sorted = [...answer[2]].sort((one, other) => other - one);
      return sorted[0] - sorted[1];
    };
    const textOf = (row) => Object.values(row.in || {}).join(" ");
    const haystacks = data.rows.map((row) => [row.id, row.row, row.gold, textOf(row), ...(row.choices || []),
      ...row.a.map((answer) => answer[1]),
      ...row.r.flatMap((record) => (record.generations || []).map((generation) => generation.text))].join("\n").toLowerCase());
    const hasMargins = data.rows.some((row) => row.a.some((answer) => answer[2].length > 1));
    const flipped = (row, branch) => {
      const run = data.branches[branch].run;
      const other = several ? data.branches.findIndex((each) => each.run !== run)
        : data.branches.findIndex((_, index) => index !== branch);
      return other >= 0 && row.a[branch][1] !== row.a[other][1];
    };

    // ---- controls ----
    const option = (value, text) => make("option", { value }, text);
    const select = (id, label, options) => {
      const control = make("select", { id }, ...options);
      return [control, make("label", { for: id }, label, control)];
    };
    const search = make("input", { type: "search", id: "search", placeholder: data.text ? "text, label or id" : "label or id" });
    const [branch, branchLabel] = select("branch", "alignment", data.branches.map((each, index) => option(index, branchName(each))));
    const shows = [option("all", "all rows"), option("wrong", "wrong"), option("right", "right"),
      option("abstained", "without an answer")];
    if (data.branches.length > 1) shows.push(option("flipped", several ? "flipped between the runs" : "changed by alignment"));
    const [show, showLabel] = select("show", "show", shows);
    const golds = data.labels.length ? data.labels : [];
    const [gold, goldLabel] = select("gold", "gold label", [option("", "any"), ...golds.map((label) => option(label, label))]);
    const [guess, guessLabel] = select("guess", "predicted", [option("", "any"), ...golds.map((label) => option(label, label))]);
    const orders = [option("order", "order of the run")];
    if (hasMargins) orders.push(option("up", "least certain first"), option("down", "most certain first"));
    const [order, orderLabel] = select("order", "sort", orders);
    const count = make("p", { class: "count", role: "status", "aria-live": "polite" });
    const list = make("div", { id: "rows" });
    const more = make("button", { type: "button", class: "more" }, "Show more rows");
    const controls = make("form", { class: "controls", role: "search", "aria-label": "Rows" },
      make("label", { for: "search" }, "search", search), data.branches.length > 1 ? branchLabel : null, showLabel,
      golds.length ? goldLabel : null, golds.length ? guessLabel : null, orders.length > 1 ? orderLabel : null);
    controls.addEventListener("submit", (event) => event.preventDefault());
    root.replaceChildren(controls, count, list, more);

    // ---- one row ----
    const image = (value, small) => {
      const source = data.images[value];
      return source ? make("img", { src: source, alt: "the image of the row", class: small ? "small thumb" : "thumb" }) : null;
    };
    const heading = (text) => make("h3", {}, text);
    const table = (title, head, rows) => make("div", { class: "scroll", role: "group", tabindex: 0, "aria-label": title },
      make("table", {}, make("caption", {}, title),
        make("thead", {}, make("tr", {}, ...head.map((name, index) => make("th", { scope: "col", class: index ? "figure" : null }, name)))),
        make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, index) =>
          make(index ? "td" : "th", index ? {} : { scope: "row" }, cell)))))));
    const probabilities = (row) => {
      const labels = names(row);
      if (!labels.length || !row.a.some((answer) => answer[2].length)) return null;
      const head = ["label", ...data.branches.map(branchName)];
      const lines = labels.map((label, index) => [
        label === row.gold ? `${label} (gold)` : label, ...row.a.map((answer) => number(answer[2][index]))]);
      lines.sort((one, other) => Number(other[1]) - Number(one[1]));
      return table("Probability of each label", head, lines.slice(0, 100));
    };
    const predictions = (row) => table("Predictions", ["alignment", "prediction", "margin"], row.a.map((answer, index) => {
      const right = make("span", { class: answer[0] ? "right" : "wrong" }, answer[0] ? "✓ right" : "✗ wrong");
      const text = answer[1] === null ? (answer[3] ? "(left out)" : "no answer") : answer[1];
      return [branchName(data.branches[index]), make("span", {}, `${text} `, right), number(margin(answer))];
    }));
    const marked = (text, answer) => {
      const at = answer ? text.toLowerCase().lastIndexOf(String(answer).toLowerCase()) : -1;
      if (at < 0) return [text];
      const end = at + String(answer).length;
      return [text.slice(0, at), make("mark", {}, text.slice(at, end)), text.slice(end)];
    };
    const prompt = (parts) => {
      const totals = new Map();
      const spans = parts.map(([part, text, tokens]) => {
        const kind = part.split(" ")[0];
        if (tokens !== null) totals.set(kind, (totals.get(kind) || 0) + tokens);
        else if (!totals.has(kind)) totals.set(kind, null);
        return make("span", { "data-part": kind, title: tokens === null ? part : `${part}: ${tokens} tokens` }, text);
      });
      const key = make("ul", { class: "key" }, ...[...totals].map(([kind, tokens]) =>
        make("li", { "data-part": kind }, tokens === null ? kind : `${kind}: ${tokens} tokens`)));
      return [key, make("div", { class: "value prompt" }, ...spans)];
    };
    const record = (each) => {
      const parts = [];
      if (each.skipped) parts.push(make("p", {}, "The prompt does not fit the context; the row was not sent to the model."));
      if (each.seen) parts.push(make("p", {}, "The predictor was fitted on this row."));
      if (each.prompt) parts.push(heading("Prompt"), ...prompt(each.prompt.map((index) => data.parts[index])));
      if (each.reasoning) parts.push(heading("Reasoning in the prompt"), make("div", { class: "value" }, each.reasoning));
      const lengths = [];
      if (each.tokens !== undefined) lengths.push(`${each.tokens} tokens in the prompt`);
      if (each.demos) lengths.push(`${each.demos.length} demonstrations: ${each.demos.join(", ")}`);
      if (each.dropped) lengths.push(`left out because of the context: ${each.dropped.join(", ")}`);
      if (lengths.length) parts.push(make("p", { class: "caption" }, lengths.join("; ")));
      if (each.continuations) {
        parts.push(table("Log-probability of each token", ["answer", "sum", "tokens"], each.continuations.map((scored) => {
          const sum = scored.logprobs.reduce((one, other) => one + other, 0);
          return [JSON.stringify(scored.text), number(sum, 2), scored.logprobs.map((value) => number(value, 2)).join("  ")];
        })));
      }
      const scores = each.logprobs || each.log_odds;
      if (scores) {
        parts.push(table(each.log_odds ? "Log-odds of each label" : "Score of each label, before calibration", ["label", "score"],
          Object.entries(scores).map(([label, value]) => [label, number(value, 3)])));
      }
      (each.generations || []).forEach((generation, index) => {
        const answer = generation.answer === null ? "no answer found" : `answer: ${generation.answer}`;
        parts.push(heading(`Generated text ${index + 1} (${generation.tokens} tokens, ended by ${generation.ended}; ${answer})`));
        parts.push(make("div", { class: "value" }, ...marked(generation.text, generation.answer)));
        for (const [field, problem] of Object.entries(generation.problems || {})) {
          parts.push(make("p", { class: "wrong" }, `${field || "the answer"}: ${problem}`));
        }
      });
      return parts;
    };
    const detail = (row) => {
      const inputs = Object.entries(row.in || {}).flatMap(([name, value]) =>
        [heading(name), image(value, false) || make("div", { class: "value" }, value)]);
      const facts = [`id ${row.id}`];
      if (row.row !== undefined) facts.push(`id in the data ${row.row}`);
      if (row.fold) facts.push(`fold ${row.fold}`);
      if (row.gold !== undefined) facts.push(`gold ${row.gold}`);
      if (row.accepted) facts.push(`accepted ${row.accepted.join(" | ")}`);
      const runs = row.r.flatMap((each, index) => (several ? [heading(data.runs[index]), ...record(each)] : record(each)));
      return make("div", { class: "detail" }, make("p", { class: "caption" }, facts.join(" · ")), ...inputs, predictions(row),
        probabilities(row), ...runs);
    };
    const item = (index) => {
      const row = data.rows[index];
      const answer = row.a[Number(branch.value)];
      const first = Object.values(row.in || {})[0];
      const text = textOf(row);
      const guessed = answer[1] === null ? (answer[3] ? "" : "no answer") : answer[1];
      const verdict = answer[0] || row.gold === undefined ? guessed : `${guessed} ≠ ${row.gold}`;
      const summary = make("summary", {},
        make("span", { class: answer[0] ? "right" : "wrong" }, make("span", { "aria-hidden": "true" }, answer[0] ? "✓" : "✗"),
          make("span", { class: "hidden" }, answer[0] ? "right" : "wrong")),
        make("span", {}, image(first, true), image(first, true) ? row.id : text.slice(0, 300) || row.id),
        make("span", {}, verdict));
      const details = make("details", { class: "item", "data-id": row.id }, summary);
      details.addEventListener("toggle", () => {
        if (details.open && details.children.length === 1) details.append(detail(row));
      });
      return details;
    };

    // ---- what is shown ----
    let found = [];
    let shown = 0;
    const extend = () => {
      const next = found.slice(shown, shown + PAGE).map(item);
      list.append(...next);
      shown += next.length;
      more.hidden = shown >= found.length;
      return next[0];
    };
    const update = () => {
      const at = Number(branch.value);
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const kept = {
        all: () => true, wrong: (row) => !row.a[at][0], right: (row) => row.a[at][0], abstained: (row) => !row.a[at][3],
        flipped: (row) => flipped(row, at),
      }[show.value];
      found = data.rows.map((_, index) => index).filter((index) => {
        const row = data.rows[index];
        return kept(row) && (!gold.value || row.gold === gold.value) && (!guess.value || row.a[at][1] === guess.value)
          && words.every((word) => haystacks[index].includes(word));
      });
      if (order.value !== "order") {
        const sign = order.value === "up" ? 1 : -1;
        const key = (index) => margin(data.rows[index].a[at]);
        found.sort((one, other) => {
          const [low, high] = [key(one), key(other)];
          if (low === null || high === null) return (low === null) - (high === null);
          return sign * (low - high) || one - other;
        });
      }
      list.replaceChildren();
      shown = 0;
      extend();
      count.textContent = `${found.length} of ${data.rows.length} rows`;
    };
    for (const control of [branch, show, gold, guess, order]) control.addEventListener("change", update);
    let waiting = 0;
    search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(update, 120); });
    more.addEventListener("click", () => { const next = extend(); if (next) next.firstChild.focus(); });
    update();
    root.dataset.ready = "true";
  };

  unpack(document.getElementById("items").textContent.trim()).then(start)
    .catch((error) => { root.textContent = "The rows cannot be shown: " + error.message; console.error(error); });
}
