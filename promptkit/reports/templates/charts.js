{
  const { config, charts } = JSON.parse(document.getElementById("charts").textContent);
  const colors = [0, 1, 2, 3, 4, 5, 6, 7].map((index) => `var(--c${index})`);
  const symbol = ["circle", "square", "diamond", "triangle-down", "triangle-up", "cross", "triangle-left", "triangle-right"];
  Object.assign(config, { range: { category: colors, symbol }, mark: { color: colors[0] }, tick: { color: colors[1] } });
  const options = {
    ast: true, renderer: "svg", actions: false, defaultStyle: false, tooltip: { disableDefaultStyle: true, theme: "report" },
    config,
  };
  for (const element of document.querySelectorAll("[data-chart]")) {
    const spec = charts[Number(element.dataset.chart)];
    const autosize = spec.width === "container" ? { type: "fit-x", contains: "padding" } : undefined;
    vegaEmbed(element, { $schema: "https://vega.github.io/schema/vega-lite/v6.json", autosize, ...spec }, options)
      .then(() => {
        element.querySelector("svg").setAttribute("aria-hidden", "true"); // the element has the description
        element.dataset.drawn = "true";
      })
      .catch((error) => { element.textContent = "The chart cannot be drawn: " + error.message; console.error(error); });
  }
}
