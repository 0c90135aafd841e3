// Small figures with one slider, and the front page's figure in steps.
//
// The curve is the explorer's, whose formulas tools/explorer.py generates from the package. A page
// holds <div class="hmm-figure" data-slider="n" …>; steps beside it say up to which size the curve
// is drawn. On paper and without scripts a picture of the page takes its place.
"use strict";

const hmmFigures = (() => {
  const { PARAMETERS, risk, sweetSpot, limitRisk, optimalRidge, draw } = hmmExplorer;
  const { add, ticks, range, show, whole } = draw;
  const PARTS = ["noise", "bias", "variance"];
  const NAMES = { n: "labels", d: "state dimension", s: "signal", rho: "persistence", sigma_u: "feature noise", ridge: "ridge" };

  function settings(data, otherwise) {
    const model = { ...otherwise };
    for (const { key } of PARAMETERS) {
      if (data[key] !== undefined && data[key] !== "best") model[key] = Number(data[key]);
    }
    if (data.ridge === "best") model.ridge = Number(optimalRidge(model).toPrecision(3));
    return model;
  }

  const START = Object.fromEntries(PARAMETERS.map(({ key, start }) => [key, start]));

  function build(root, index) {
    const { slider, sizes = "240", parts, top = "3" } = root.dataset;
    const most = Number(sizes);
    const start = settings(root.dataset, START);
    const parameter = PARAMETERS.find(({ key }) => key === slider);
    const [from, to] = [Number(root.dataset.from ?? -Infinity), Number(root.dataset.to ?? Infinity)];
    const values = parameter.values.filter((value) => value === start[slider] || (value >= from && value <= to));
    let model = { ...start };
    let upto = most;

    root.textContent = "";
    root.classList.add("explorer");
    for (const [name, value] of Object.entries(hmmColors)) root.style.setProperty(`--hmm-${name}`, value);
    const chart = add(root, "svg", { role: "img" });
    const box = add(root, "div", { class: "explorer-control" });
    const id = `hmm-figure-${index}`;
    add(box, "label", { for: id }).innerHTML = `${NAMES[slider]} <i>${parameter.symbol}</i>`;
    const output = add(box, "output", { for: id, "aria-hidden": "true" });
    const input = add(box, "input", { id, type: "range", min: 0, max: values.length - 1, step: 1 });
    const said = add(root, "p", { class: "hmm-said", role: "status" });
    input.addEventListener("input", () => {
      model = { ...model, [slider]: values[Number(input.value)] };
      upto = most;
      render();
    });

    function path(setting, part, x, y) {
      let line = "";
      let pen = "M";
      for (const p of range(0, most + 1)) {
        const value = risk(setting, p)[part];
        if (!Number.isFinite(value)) { pen = "M"; continue; }
        line += `${pen}${x(p).toFixed(1)},${Math.max(-1e4, y(value)).toFixed(1)}`;
        pen = "L";
      }
      return line;
    }

    function sentence() {
      const { n, d, ridge } = model;
      const none = `${show(d)} without features`;
      const last = `${show(risk(model, most).total)} with ${most}`;
      if (ridge > 0) return `Balanced features, ridge λ = ${show(ridge)}: risk ${none}, ${show(risk(model, n).total)} at p = n = ${n}, ${last}.`;
      const spot = sweetSpot(model);
      const first = spot.degenerate
        ? `no descent before the peak (it takes more than ${show(spot.critical)} labels)`
        : `a first descent to ${show(spot.risk)} at p = ${spot.size}`;
      return `Balanced features, n = ${n}: risk ${none}, ${first}, no finite risk at p = n, ${last}, ${show(limitRisk(model))} in the limit.`;
    }

    function render() {
      const width = Math.max(260, Math.floor(root.clientWidth));
      const height = Math.round(Math.min(340, Math.max(200, 0.48 * width)));
      const edge = { left: 40, right: width - 10, top: 20, bottom: height - 38 };
      const highest = Number(top) * start.d;
      const x = (p) => edge.left + ((edge.right - edge.left) * p) / most;
      const y = (value) => edge.bottom - ((edge.bottom - edge.top) * value) / highest;
      const tall = edge.bottom - edge.top;
      chart.textContent = "";
      for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) chart.setAttribute(key, value);
      const clips = add(chart, "defs");
      const all = add(clips, "clipPath", { id: `${id}-all` });
      add(all, "rect", { x: edge.left, y: edge.top, width: edge.right - edge.left, height: tall });
      const told = add(clips, "clipPath", { id: `${id}-told` });
      add(told, "rect", { x: edge.left, y: edge.top, width: x(upto) - edge.left, height: tall });
      for (const value of ticks(highest, 4)) {
        add(chart, "line", { class: "grid", x1: edge.left, x2: edge.right, y1: y(value), y2: y(value) });
        add(chart, "text", { x: edge.left - 6, y: y(value) + 4, "text-anchor": "end" }, whole(value));
      }
      for (const value of ticks(most, width < 450 ? 4 : 8)) {
        add(chart, "line", { class: "tick", x1: x(value), x2: x(value), y1: edge.bottom, y2: edge.bottom + 5 });
        add(chart, "text", { x: x(value), y: edge.bottom + 17, "text-anchor": value === most ? "end" : "middle" }, whole(value));
      }
      add(chart, "line", { class: "axis", x1: edge.left, x2: edge.right, y1: edge.bottom, y2: edge.bottom });
      add(chart, "text", { x: (edge.left + edge.right) / 2, y: height - 4, "text-anchor": "middle" }, "size p: features that the head reads");
      add(chart, "text", { x: 2, y: 12 }, "risk");
      add(chart, "line", { class: "mark", x1: x(model.n), x2: x(model.n), y1: edge.top, y2: edge.bottom });
      add(chart, "text", { class: "kind", x: x(model.n) + 4, y: edge.bottom - 6 }, "p = n");
      add(chart, "line", { class: "line level", x1: edge.left, x2: edge.right, y1: y(model.d), y2: y(model.d) });
      add(chart, "text", { class: "kind", x: edge.right, y: y(model.d) - 5, "text-anchor": "end" }, "no features");
      const faint = add(chart, "g", { "clip-path": `url(#${id}-all)`, class: "hmm-faint" });
      add(faint, "path", { class: "line total", d: path(start, "total", x, y) });
      const bright = add(chart, "g", { "clip-path": `url(#${id}-told)` });
      if (parts) for (const part of PARTS) add(bright, "path", { class: `line ${part}`, d: path(model, part, x, y) });
      add(bright, "path", { class: "line total", d: path(model, "total", x, y) });
      const spot = model.ridge === 0 ? sweetSpot(model) : null;
      if (spot && spot.size <= upto) add(chart, "circle", { class: "spot", cx: x(spot.size), cy: y(spot.risk), r: 6 });
      const place = values.reduce((best, value, i) => (Math.abs(value - model[slider]) < Math.abs(values[best] - model[slider]) ? i : best), 0);
      input.value = place;
      input.setAttribute("aria-valuetext", `${parameter.symbol.replace(/<.*?>/g, "")} = ${model[slider]}`);
      output.textContent = show(model[slider]);
      said.textContent = sentence();
      chart.setAttribute("aria-label", `Risk of a trained head against its number of features. ${sentence()}`);
    }

    root.hmmShow = (data) => {
      model = settings(data, start);
      upto = Math.min(most, Number(data.upto ?? most));
      render();
    };
    let lastWidth = 0;
    new ResizeObserver(() => {
      if (root.clientWidth === lastWidth) return;
      lastWidth = root.clientWidth;
      render();
    }).observe(root);
    render();
  }

  // The step in the middle of what is left of the window below the figure is told.
  function follow(story) {
    const figure = story.querySelector(".hmm-figure");
    const steps = [...story.querySelectorAll(".hmm-step")];
    let active = null;
    function choose() {
      const middle = (figure.getBoundingClientRect().bottom + window.innerHeight) / 2;
      const distance = (step) => {
        const { top, bottom } = step.getBoundingClientRect();
        return Math.max(top - middle, middle - bottom, 0);
      };
      const found = steps.reduce((a, b) => (distance(b) < distance(a) ? b : a));
      if (found === active) return;
      active = found;
      for (const step of steps) step.classList.toggle("active", step === active);
      figure.hmmShow(active.dataset);
    }
    story.classList.add("alive");
    window.addEventListener("scroll", choose, { passive: true });
    window.addEventListener("resize", choose);
    choose();
  }

  document.querySelectorAll(".hmm-figure").forEach(build);
  document.querySelectorAll(".hmm-steps").forEach(follow);
  return { settings };
})();
