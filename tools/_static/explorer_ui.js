// The explorer: sliders, the risk curve, the sweet spot and the phase.
//
// All formulas come from hmmFormulas, which tools/explorer.py generates from the package. Written
// here are only the search for a root and for the best size, as in hmmtheory/closed_forms.py, and
// the drawing. tests/test_explorer.py compares every number with the package's.
"use strict";

const hmmExplorer = (() => {
  // ---------------------------------------------------------------- theory

  // The one positive root of a polynomial whose roots are all real, highest coefficient first.
  // From above them Newton's iteration falls onto the largest, until rounding stops it.
  function positiveRoot(coefficients) {
    const [lead, ...rest] = coefficients;
    let x = 2 * Math.max(...rest.map((c, i) => Math.pow(Math.abs(c / lead), 1 / (i + 1))));
    for (let step = 0; step < 500; step += 1) {
      let value = 0;
      let slope = 0;
      for (const c of coefficients) {
        slope = slope * x + value;
        value = value * x + c;
      }
      const next = x - value / slope;
      if (!(next < x && next > 0)) return x;
      x = next;
    }
    return x;
  }

  // The positive root of a quadratic whose ends differ in sign, or of a line, digits kept.
  function largerRoot(coefficients) {
    const [b, c] = coefficients.slice(-2);
    if (coefficients.length === 2) return -c / b;
    const [a] = coefficients;
    const far = Math.abs(b) + Math.sqrt(b * b - 4 * a * c);
    return a * b > 0 ? (-2 * c * Math.sign(a)) / far : far / (2 * Math.abs(a));
  }

  // Without ridge one root of the equation is zero.
  const ridgeless = (forms, at) => largerRoot(forms.kappa_equation(at).slice(0, -1));

  const known = (model, p) => ({
    n: model.n, d: model.d, s: model.s, rho: model.rho, sigma_u: model.sigma_u,
    lambda: model.ridge, p,
  });

  // Noise, bias, variance and their sum at one size.
  function risk(model, p) {
    const { n, d, ridge } = model;
    if (p === 0) return { noise: d, bias: 0, variance: 0, total: d, exact: true };
    const forms = p > d ? hmmFormulas.wide : hmmFormulas.narrow;
    const at = known(model, p);
    const noise = forms.residual_trace(at);
    if (ridge === 0 && p <= n + 1) {
      const total = p <= n - 2 ? forms.risk_under(at) : Infinity;
      // One past n the bias is finite, and only there it is not zero.
      const bias = p > n ? forms.bias_over({ ...at, kappa: ridgeless(forms, at) }) : 0;
      return { noise, bias, variance: total - noise, total, exact: true };
    }
    at.kappa = ridge === 0 ? ridgeless(forms, at) : positiveRoot(forms.kappa_equation(at));
    const bias = forms.bias_over(at);
    const variance = forms.variance_over(at);
    return { noise, bias, variance, total: noise + bias + variance, exact: false };
  }

  const total = (model, p) => risk(model, p).total;

  // The risk as p grows without end; a fixed ridge makes no difference there.
  function limitRisk(model) {
    const at = known(model);
    return hmmFormulas.limit.risk({ ...at, k: largerRoot(hmmFormulas.limit.slope_equation(at)) });
  }

  function best(model, sizes) {
    let found = { size: sizes[0], risk: Infinity };
    for (const size of sizes) {
      const value = total(model, size);
      if (value < found.risk) found = { size, risk: value };
    }
    return found;
  }

  const range = (from, to) => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);

  // Below the threshold and without ridge, as hmmtheory.sweet_spot.
  function sweetSpot(model) {
    const at = known(model);
    const fraction = hmmFormulas.criterion.fraction(at);
    const critical = hmmFormulas.criterion.critical_samples(at);
    if (model.n <= critical * (1 + 1e-12)) {
      return { size: 0, risk: model.d, degenerate: true, fraction, critical };
    }
    const found = best({ ...model, ridge: 0 }, range(model.d, model.n - 1));
    return { ...found, degenerate: false, fraction, critical };
  }

  // Of all sizes, as hmmtheory.closed_forms.global_optimum; a ridge is allowed.
  function globalOptimum(model) {
    const { n, d, ridge } = model;
    const ratio = (1e6 * (n + d)) / 2;
    const beyond = range(0, 400).map((i) => Math.floor(n + 2 * Math.pow(ratio, i / 399)));
    const below = ridge === 0 ? sweetSpot(model) : best(model, range(1, n + 2));
    const candidates = [
      { phase: "zero", size: 0, risk: d },
      { phase: "interior", size: below.size, risk: below.risk },
      { phase: "infinite", size: Infinity, risk: limitRisk(model) },
      { phase: "interior", ...best(model, beyond) },
    ];
    // Rounding must not make a far-away size beat the limit it tends to.
    const key = (o) => o.risk * (1 + 1e-9 * (o.phase === "interior"));
    return candidates.reduce((a, b) => (key(b) < key(a) ? b : a));
  }

  // ρ² above which infinite size beats none, and above which the first descent exists, at d.
  // Both conditions are linear in ρ².
  function boundaries(model, d) {
    const at = { ...model, d };
    const none = limitRisk({ ...at, rho: 0 });
    const full = limitRisk({ ...at, rho: 1 });
    const share = hmmFormulas.criterion.fraction({ ...known(at), rho: 1 });
    return { infinite: (none - d) / (none - full), descent: d / (share * (model.n - 1)) };
  }

  // The best ridge at p = d (R7, exact for p <= d).
  const optimalRidge = (model) => hmmFormulas.narrow.optimal_ridge(known(model, model.d));

  // ---------------------------------------------------------------- settings

  const MANTISSAS = [1, 1.1, 1.2, 1.4, 1.6, 1.8, 2, 2.2, 2.5, 2.8, 3, 3.5, 4, 4.5, 5, 5.5, 6, 7, 8, 9];
  const decades = (from, to) => [
    ...range(from, to).flatMap((k) => MANTISSAS.map((m) => Number(`${m}e${k}`))),
    Number(`1e${to}`),
  ];
  const PARAMETERS = [
    { key: "n", symbol: "n", label: "labels", values: range(4, 301), whole: true, start: 60 },
    { key: "d", symbol: "d", label: "state dimension", values: range(1, 201), whole: true, start: 20 },
    { key: "s", symbol: "s", label: "signal", values: decades(-2, 2), start: 1 },
    { key: "rho", symbol: "ρ", label: "persistence", values: range(0, 100).map((i) => i / 100), start: 0.9 },
    { key: "sigma_u", symbol: "σ<sub>u</sub>", label: "feature noise", values: [...decades(-1, 0), ...decades(0, 1).slice(1, 15)], start: 1 },
    { key: "ridge", symbol: "λ", label: "ridge", values: [0, ...decades(-3, 4)], start: 0 },
  ];
  const START = Object.fromEntries(PARAMETERS.map(({ key, start }) => [key, start]));
  const lowest = (parameter) => parameter.values[0];
  const highest = (parameter) => parameter.values[parameter.values.length - 1];

  // A state from the words of an address, "n=40&rho=0.5". What makes no sense is left out.
  function parse(query) {
    const words = new URLSearchParams(query);
    const state = { ...START, p: null, far: words.get("far") === "1" };
    for (const parameter of PARAMETERS) {
      const word = words.get(parameter.key);
      const value = word === null || word.trim() === "" ? NaN : Number(word);
      if (!Number.isFinite(value)) continue;
      const inside = Math.min(Math.max(value, lowest(parameter)), highest(parameter));
      state[parameter.key] = parameter.whole ? Math.round(inside) : inside;
    }
    if (words.get("ridge") === "best") {
      const wanted = Number(optimalRidge(state).toPrecision(4));
      state.ridge = Math.min(wanted, highest(PARAMETERS[5]));
    }
    const p = words.get("p");
    if (p !== null && /^\d+$/.test(p)) state.p = Number(p);
    return state;
  }

  function serialise(state) {
    const words = new URLSearchParams();
    for (const { key } of PARAMETERS) words.set(key, String(state[key]));
    if (state.p !== null) words.set("p", String(state.p));
    if (state.far) words.set("far", "1");
    return words.toString();
  }

  const nearest = (values, wanted) => {
    let found = 0;
    values.forEach((value, i) => {
      if (Math.abs(value - wanted) < Math.abs(values[found] - wanted)) found = i;
    });
    return found;
  };

  // Three digits; whole numbers and infinity as they are.
  const three = new Intl.NumberFormat("en-GB", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
  const whole = (x) => (x === Infinity ? "∞" : x.toLocaleString("en-GB"));
  const show = (x) => (Number.isInteger(x) || x === Infinity ? whole(x) : three.format(x));

  // ---------------------------------------------------------------- drawing

  const SVG = "http://www.w3.org/2000/svg";

  function add(parent, name, attributes = {}, text = null) {
    const isSvg = name === "svg" || parent.namespaceURI === SVG;
    const element = isSvg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== null) element.textContent = text;
    parent.appendChild(element);
    return element;
  }

  // Round steps that divide [0, top] into at most `most` parts.
  function ticks(top, most) {
    const raw = top / most;
    const power = Math.pow(10, Math.floor(Math.log10(raw)));
    const step = [1, 2, 5, 10].map((m) => m * power).find((value) => value >= raw * 0.999);
    return range(0, Math.floor(top / step + 1e-9) + 1).map((i) => Number((i * step).toPrecision(12)));
  }

  const LINES = [
    { part: "noise", label: "noise", className: "noise" },
    { part: "bias", label: "bias", className: "bias" },
    { part: "variance", label: "variance", className: "variance" },
    { part: "total", label: "total risk", className: "total" },
  ];

  const FAR = 100000;

  // Axes hold still while a slider moves a little: their ends are steps of a ladder.
  const rung = (ladder, least) => ladder.find((value) => value >= least * (1 - 1e-9));
  const lastSize = (state) => rung([40, 120, 240, 480, 800, 1200], 4 * state.n);
  const highestRisk = (state) => 3 * rung([1, 2, 3, 5, 7, 10, 14, 20, 30, 50, 70, 100, 140, 200], state.d);
  const HEADS = 20;

  function sizesOf(state) {
    if (!state.far) return range(0, lastSize(state) + 1);
    const spread = range(0, 301).map((i) => Math.round(Math.pow(FAR, i / 300)));
    const near = range(Math.max(1, state.n - 12), state.n + 13);
    return [...new Set([...spread, ...near, state.d])].sort((a, b) => a - b);
  }

  function build(root) {
    root.textContent = "";
    root.classList.add("explorer");
    for (const [name, value] of Object.entries(hmmColors)) {
      root.style.setProperty(`--hmm-${name}`, value);
    }

    const headline = add(root, "p", { class: "explorer-headline" });
    const chartBox = add(root, "div", { class: "explorer-chart" });
    const chart = add(chartBox, "svg", { role: "img", "aria-describedby": "explorer-summary" });
    const legend = add(root, "ul", { class: "explorer-legend", "aria-label": "Lines of the chart" });

    // Sliders. A slider moves over a list of values, so that each step is a round number.
    const controls = add(root, "div", { class: "explorer-controls", role: "group", "aria-label": "Settings" });
    const inputs = {};
    for (const parameter of PARAMETERS) {
      const { key, symbol, label, values } = parameter;
      const box = add(controls, "div", { class: "explorer-control" });
      const id = `explorer-${key}`;
      add(box, "label", { for: id }).innerHTML = `${label} <i>${symbol}</i>`;
      const output = add(box, "output", { for: id, "aria-hidden": "true" });
      const input = add(box, "input", { id, type: "range", min: 0, max: values.length - 1, step: 1 });
      input.addEventListener("input", () => change({ [key]: values[Number(input.value)] }));
      inputs[key] = { input, output };
    }

    const actions = add(root, "div", { class: "explorer-actions" });
    const farLabel = add(actions, "label", { class: "explorer-check" });
    const far = add(farLabel, "input", { type: "checkbox", id: "explorer-far" });
    farLabel.append(` sizes to ${whole(FAR)}`);
    far.addEventListener("change", () => change({ far: far.checked, p: null }));
    const train = add(actions, "button", { type: "button", id: "explorer-train" }, `Train ${HEADS} heads`);
    const reset = add(actions, "button", { type: "button", id: "explorer-reset" }, "Reset");
    const copy = add(actions, "button", { type: "button", id: "explorer-copy" }, "Copy link");
    const said = add(actions, "span", { class: "explorer-said", role: "status" });

    add(root, "p", { id: "explorer-summary", class: "explorer-summary", role: "status" });
    const summary = root.querySelector("#explorer-summary");

    const lower = add(root, "div", { class: "explorer-lower" });
    const reading = add(lower, "div", { class: "explorer-reading" });
    add(reading, "label", { for: "explorer-p" }).innerHTML = "Read the curve at size <i>p</i>";
    const pInput = add(reading, "input", { id: "explorer-p", type: "range", min: 0, step: 1 });
    const table = add(reading, "table", { class: "explorer-table" });
    const caption = add(table, "caption");
    const body = add(table, "tbody");
    const cells = {};
    for (const { part, label } of [...LINES].reverse()) {
      const row = add(body, "tr");
      add(row, "th", { scope: "row" }, label);
      cells[part] = add(row, "td");
    }
    const criterion = add(reading, "p", { class: "explorer-criterion" });

    const mapBox = add(lower, "div", { class: "explorer-map" });
    const map = add(mapBox, "svg", { role: "img" });
    const mapLegend = add(mapBox, "ul", { class: "explorer-legend", "aria-label": "Regions of the map" });
    for (const [className, text] of [
      ["zero", "size zero is the best of all"],
      ["infinite", "infinite size is the best"],
      ["descent", "so too, and a first descent exists"],
    ]) {
      const item = add(mapLegend, "li");
      const swatch = add(item, "svg", { width: 22, height: 12, "aria-hidden": "true" });
      if (className === "descent") add(swatch, "rect", { width: 22, height: 12, class: "region infinite" });
      add(swatch, "rect", { width: 22, height: 12, class: `region ${className}` });
      item.append(text);
    }

    let state = parse(window.location.search);
    let scaleP = null; // pixels to sizes, for the pointer
    let current = [];
    let ghost = null; // the setting before the last change
    let moving = false;
    let dragging = null; // "n" or "p", while a pointer is down
    let dots = []; // trained heads
    let held = null; // the axes of the moment when a drag began

    function change(update) {
      const before = state;
      state = { ...state, ...update };
      if (PARAMETERS.some(({ key }) => state[key] !== before[key])) {
        dots = [];
        if (!moving) ghost = before;
        moving = true;
        later("settled", 1500, () => { moving = false; });
      }
      render();
      later("address", 150, () => address(`?${serialise(state)}`));
    }

    const timers = {};
    function later(name, wait, action) {
      clearTimeout(timers[name]);
      timers[name] = setTimeout(action, wait);
    }

    function address(query) {
      try {
        window.history.replaceState(null, "", query + window.location.hash);
      } catch {
        // Some browsers refuse this for files; the button still copies the link.
      }
    }

    const link = () => `${window.location.href.split(/[?#]/)[0]}?${serialise(state)}`;

    // One head of every size at a time; a few milliseconds of work, then the page may answer.
    train.addEventListener("click", () => {
      dots = [];
      const [setting, mine] = [state, dots];
      const normal = hmmHeads.normals(1);
      const sizes = hmmHeads.sizes(setting, current[current.length - 1].p);
      const wanted = Array.from({ length: HEADS * sizes.length }, (_, i) => sizes[i % sizes.length]);
      function work() {
        if (dots !== mine) return;
        const start = performance.now();
        while (mine.length < wanted.length && performance.now() - start < 40) {
          const p = wanted[mine.length];
          mine.push({ p, risk: hmmHeads.trainedRisk(setting, p, normal) });
        }
        render();
        const done = Math.floor(mine.length / sizes.length);
        said.textContent = `${done} of ${HEADS} heads trained at each of ${sizes.length} sizes.`;
        if (mine.length < wanted.length) setTimeout(work, 0);
        else later("said", 4000, () => { said.textContent = ""; });
      }
      work();
    });

    reset.addEventListener("click", () => {
      [ghost, dots] = [null, []];
      state = parse("");
      render();
      clearTimeout(timers.address);
      address(window.location.pathname);
    });

    copy.addEventListener("click", async () => {
      const text = link();
      try {
        await navigator.clipboard.writeText(text);
        said.textContent = "Link copied.";
      } catch {
        const field = add(actions, "input", { value: text, readonly: "", "aria-label": "Link" });
        field.select();
        const done = document.execCommand("copy");
        said.textContent = done ? "Link copied." : "Copy the link from the address bar.";
        field.remove();
      }
      later("said", 4000, () => { said.textContent = ""; });
    });

    pInput.addEventListener("input", () => change({ p: current[Number(pInput.value)].p }));

    function point(event) {
      if (scaleP === null || (event.type === "pointermove" && dragging === null)) return;
      const wanted = scaleP(event.clientX - chart.getBoundingClientRect().left);
      if (event.type === "pointerdown") {
        dragging = event.target.classList.contains("handle") ? "n" : "p";
        if (dragging === "n") held = { last: lastSize(state), top: highestRisk(state) };
        chart.setPointerCapture(event.pointerId);
      }
      if (dragging === "n") {
        const most = Math.min(highest(PARAMETERS[0]), held.last);
        change({ n: Math.min(Math.max(Math.round(wanted), lowest(PARAMETERS[0])), most) });
      } else {
        change({ p: current[nearest(current.map(({ p }) => p), wanted)].p });
      }
    }
    chart.addEventListener("pointerdown", point);
    chart.addEventListener("pointermove", point);
    for (const end of ["pointerup", "pointercancel"]) {
      chart.addEventListener(end, () => {
        [dragging, held] = [null, null];
        render();
      });
    }

    map.addEventListener("pointerdown", (event) => {
      const box = map.getBoundingClientRect();
      const { delta, squared } = map.hmmPosition(event.clientX - box.left, event.clientY - box.top);
      const limit = (x, parameter) => Math.min(Math.max(x, lowest(parameter)), highest(parameter));
      change({
        d: Math.round(limit(delta * state.n, PARAMETERS[1])),
        rho: Math.round(100 * limit(Math.sqrt(Math.max(squared, 0)), PARAMETERS[3])) / 100,
      });
    });

    // -------------------------------------------------------------- one frame

    function render() {
      for (const parameter of PARAMETERS) {
        const { input, output } = inputs[parameter.key];
        const value = state[parameter.key];
        input.value = nearest(parameter.values, value);
        const words = String(value);
        input.setAttribute("aria-valuetext", words);
        output.textContent = words;
      }
      far.checked = state.far;
      const sizes = held && !state.far ? range(0, held.last + 1) : sizesOf(state);
      current = sizes.map((p) => ({ p, ...risk(state, p) }));
      const wantedP = state.p === null ? state.d : state.p;
      const index = nearest(current.map(({ p }) => p), wantedP);
      pInput.max = current.length - 1;
      pInput.value = index;

      const spot = sweetSpot(state);
      const optimum = globalOptimum(state);
      const limit = limitRisk(state);
      drawChart(spot, limit, current[index]);
      drawLegend(spot, limit);
      read(current[index], spot);
      drawMap(optimum, spot);
      headline.textContent = inPlainWords(spot, optimum, limit);
      later("summary", 120, () => { summary.textContent = summarise(spot, optimum, limit); });
      later("label", 120, () => chart.setAttribute("aria-label", describe()));
    }

    function inPlainWords(spot, optimum, limit) {
      const { n, d, ridge } = state;
      const best = optimum.phase === "infinite"
        ? `The larger the better in the end: risk ${show(limit)} at infinite size, ${d} with no model`
        : optimum.phase === "zero"
          ? "No model at all is best: no size pays its price"
          : `The best size is ${whole(optimum.size)}: risk ${show(optimum.risk)}, against ${d} with no model`;
      if (ridge > 0) return `${best}. With this ridge the risk at p = n is ${show(total(state, n))}, not infinite.`;
      const below = spot.degenerate
        ? `with fewer features than the ${n} labels every head is worse than none`
        : `below the peak at ${n} the best size is ${spot.size}, risk ${show(spot.risk)}`;
      return `${best}; ${below}.`;
    }

    function summarise(spot, optimum, limit) {
      const { n, d, ridge } = state;
      const enough = spot.degenerate ? "not more than" : "more than";
      const needs = spot.critical === Infinity
        ? "nothing can be predicted, so no number of labels is enough"
        : `${n} labels are ${enough} the critical ${show(spot.critical)}`;
      const verdict = spot.degenerate
        ? `first descent is missing: ${needs}. Below the threshold the best size is zero.`
        : `first descent exists: ${needs}. Below the threshold the best size is p = ${spot.size}, with risk ${show(spot.risk)} against ${show(d)} for no model.`;
      if (ridge === 0) {
        const all = optimum.phase === "infinite"
          ? `infinite, with risk ${show(limit)}`
          : optimum.phase === "zero"
            ? `zero, with risk ${show(d)}; infinite size has ${show(limit)}`
            : `p = ${whole(optimum.size)}, with risk ${show(optimum.risk)}`;
        return `The ${verdict} Best size of all: ${all}.`;
      }
      const size = optimum.phase === "infinite" ? "infinite" : optimum.phase === "zero" ? "zero" : `p = ${whole(optimum.size)}`;
      return `With ridge λ = ${show(ridge)} the risk at p = n is ${show(total(state, n))}, not infinite. Best size of all: ${size}, with risk ${show(optimum.risk)} against ${show(d)} for no model. Without ridge the ${verdict}`;
    }

    function describe() {
      const last = current[current.length - 1].p;
      const stops = [...new Set([current[0].p, Math.floor(state.n / 2), state.n, 2 * state.n, last])];
      const values = stops.map((p) => `${show(total(state, p))} at p = ${whole(p)}`);
      return `Chart of risk against model size p from ${current[0].p} to ${whole(last)}. The total risk is ${values.join(", ")}.`;
    }

    function drawChart(spot, limit, chosen) {
      const width = Math.max(280, Math.floor(chartBox.clientWidth));
      const height = Math.round(Math.min(400, Math.max(260, 0.58 * width)));
      const box = { left: 44, right: width - 12, top: 24, bottom: height - 42 };
      const last = current[current.length - 1].p;
      const top = held ? held.top : highestRisk(state);
      const fraction = state.far ? (p) => Math.log(p) / Math.log(last) : (p) => p / last;
      const x = (p) => box.left + (box.right - box.left) * fraction(p);
      const y = (value) => box.bottom - (box.bottom - box.top) * (value / top);
      scaleP = (pixel) => {
        const share = Math.min(1, Math.max(0, (pixel - box.left) / (box.right - box.left)));
        return state.far ? Math.pow(last, share) : share * last;
      };

      chart.textContent = "";
      chart.setAttribute("width", width);
      chart.setAttribute("height", height);
      chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
      const clip = add(add(chart, "defs"), "clipPath", { id: "explorer-clip" });
      add(clip, "rect", { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top });

      // Axes.
      for (const value of ticks(top, 5)) {
        add(chart, "line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) });
        add(chart, "text", { x: box.left - 6, y: y(value) + 4, "text-anchor": "end" }, whole(value));
      }
      const marks = state.far ? range(0, 6).map((k) => Math.pow(10, k)) : ticks(last, width < 500 ? 4 : 8);
      for (const value of marks) {
        add(chart, "line", { class: "tick", x1: x(value), x2: x(value), y1: box.bottom, y2: box.bottom + 5 });
        const anchor = x(value) > box.right - 16 ? "end" : "middle";
        add(chart, "text", { x: x(value), y: box.bottom + 18, "text-anchor": anchor }, whole(value));
      }
      add(chart, "line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom });
      add(chart, "text", { x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle" }, "model size p");
      add(chart, "text", { x: 2, y: 12 }, "risk");

      // Which kind of truth the curve is, where.
      const n = state.n;
      if (state.ridge === 0) {
        const border = x(n);
        add(chart, "text", { class: "kind", x: border - 14, y: 12, "text-anchor": "end" }, "exact");
        add(chart, "text", { class: "kind", x: border + 14, y: 12 }, "first order");
        const low = x(Math.max(n - 1, current[0].p));
        const band = Math.max(3, x(n + 1) - low);
        add(chart, "rect", { class: "threshold", x: (low + x(n + 1) - band) / 2, y: box.top, width: band, height: box.bottom - box.top });
        add(chart, "text", { class: "infinity", x: border, y: 13, "text-anchor": "middle" }, "∞");
      } else {
        add(chart, "text", { class: "kind", x: (box.left + box.right) / 2, y: 12, "text-anchor": "middle" }, "first order at every size");
      }
      add(chart, "line", { class: "mark", x1: x(n), x2: x(n), y1: box.top, y2: box.bottom });
      add(chart, "path", { class: "grip", d: `M${x(n)},${box.bottom}l-6,10h12z` });
      add(chart, "text", { class: "kind", x: x(n) + 4, y: box.bottom - 8 }, "p = n");

      // Levels, lines, sweet spot and reading.
      const inside = add(chart, "g", { "clip-path": "url(#explorer-clip)" });
      add(inside, "line", { class: "line level", x1: box.left, x2: box.right, y1: y(state.d), y2: y(state.d) });
      add(inside, "line", { class: "line limit", x1: (box.left + 2 * box.right) / 3, x2: box.right, y1: y(limit), y2: y(limit) });
      const pathOf = (points, part) => {
        let path = "";
        let pen = "M";
        for (const at of points) {
          if (!Number.isFinite(at[part])) {
            pen = "M";
            continue;
          }
          path += `${pen}${x(at.p).toFixed(2)},${Math.max(-1e4, y(at[part])).toFixed(2)}`;
          pen = "L";
        }
        return path;
      };
      if (ghost !== null) {
        const earlier = current.map(({ p }) => ({ p, ...risk(ghost, p) }));
        add(inside, "path", { class: "line ghost", d: pathOf(earlier, "total") });
      }
      for (const { part, className } of LINES) {
        add(inside, "path", { class: `line ${className}`, d: pathOf(current, part) });
      }
      for (const { p, risk: value } of dots) {
        const over = value > top ? " over" : "";
        add(chart, "circle", { class: `head${over}`, cx: x(p), cy: over ? box.top : y(value), r: 2.5 });
      }
      if (state.ridge === 0 && spot.size >= current[0].p) {
        add(chart, "circle", { class: "spot", cx: x(spot.size), cy: y(spot.risk), r: 7 });
      }
      add(chart, "rect", { class: "handle", x: x(n) - 12, y: box.top, width: 24, height: box.bottom - box.top + 12 });
      add(chart, "line", { class: "reading", x1: x(chosen.p), x2: x(chosen.p), y1: box.top, y2: box.bottom });
      for (const { part, className } of LINES) {
        if (chosen[part] <= top) {
          add(chart, "circle", { class: `dot ${className}`, cx: x(chosen.p), cy: y(chosen[part]), r: 3.5 });
        }
      }
    }

    function drawLegend(spot, limit) {
      const items = [
        ...[...LINES].reverse().map(({ label, className }) => [`line ${className}`, label]),
        ["line level", `no model, ${show(state.d)}`],
        ["line limit", `p → ∞, ${show(limit)}`],
      ];
      if (ghost !== null) items.push(["line ghost", "total risk, before the change"]);
      if (dots.length > 0) items.push(["head", "a trained head (on the upper edge: above it)"]);
      if (state.ridge === 0) items.push(["spot", `classical sweet spot, p = ${spot.size}`]);
      legend.textContent = "";
      for (const [className, text] of items) {
        const item = add(legend, "li");
        const swatch = add(item, "svg", { width: 28, height: 14, "aria-hidden": "true" });
        if (className === "head") add(swatch, "circle", { class: "head", cx: 14, cy: 7, r: 3 });
        else if (className === "spot") add(swatch, "circle", { class: "spot", cx: 14, cy: 7, r: 5.5 });
        else add(swatch, "line", { class: className, x1: 0, x2: 28, y1: 7, y2: 7 });
        item.append(text);
      }
    }

    function read(at, spot) {
      const kind = at.exact ? "exact" : "first order";
      caption.textContent = `At p = ${whole(at.p)} (${kind})`;
      pInput.setAttribute("aria-valuetext", `p = ${at.p}, total risk ${at.total === Infinity ? "infinite" : show(at.total)}`);
      for (const { part } of LINES) cells[part].textContent = show(at[part]);
      const price = spot.fraction * (state.n - 1);
      const relation = spot.degenerate ? "≥" : "<";
      criterion.innerHTML = `<i>c</i> = ${show(spot.fraction)}; <i>d</i> = ${state.d} ${relation} <i>c</i>(<i>n</i> − 1) = ${show(price)}`;
    }

    function drawMap(optimum, spot) {
      const width = Math.max(240, Math.min(380, Math.floor(mapBox.clientWidth)));
      const height = Math.round(0.8 * width);
      const box = { left: 40, right: width - 10, top: 10, bottom: height - 40 };
      const most = 2.2;
      const x = (delta) => box.left + ((box.right - box.left) * delta) / most;
      const y = (squared) => box.bottom - (box.bottom - box.top) * squared;
      map.hmmPosition = (px, py) => ({
        delta: (most * (px - box.left)) / (box.right - box.left),
        squared: (box.bottom - py) / (box.bottom - box.top),
      });
      map.textContent = "";
      map.setAttribute("width", width);
      map.setAttribute("height", height);
      map.setAttribute("viewBox", `0 0 ${width} ${height}`);

      // Regions: everything is "infinite", the rest is laid over it.
      const steps = range(1, 111).map((i) => (most * i) / 110);
      const edges = steps.map((delta) => boundaries(state, delta * state.n));
      const curve = (name) => edges.map((edge, i) => `${x(steps[i]).toFixed(1)},${y(Math.min(9, edge[name])).toFixed(1)}`);
      const clip = add(add(map, "defs"), "clipPath", { id: "explorer-map-clip" });
      add(clip, "rect", { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top });
      const inside = add(map, "g", { "clip-path": "url(#explorer-map-clip)" });
      const start = (value) => `${x(0)},${y(value)}`;
      add(inside, "rect", { class: "region infinite", x: x(0), y: y(1), width: x(most) - x(0), height: y(0) - y(1) });
      add(inside, "polygon", { class: "region descent", points: [start(0), ...curve("descent"), `${x(most)},${y(9)}`, start(9)].join(" ") });
      add(inside, "polygon", { class: "region paper", points: [start(0), ...curve("infinite"), `${x(most)},${y(0)}`].join(" ") });
      add(inside, "polygon", { class: "region zero", points: [start(0), ...curve("infinite"), `${x(most)},${y(0)}`].join(" ") });
      add(inside, "polyline", { class: "border infinite", points: [start(0), ...curve("infinite")].join(" ") });
      add(inside, "polyline", { class: "border descent", points: [start(0), ...curve("descent")].join(" ") });
      for (const value of [0, 0.5, 1, 1.5, 2]) {
        add(map, "text", { x: x(value), y: box.bottom + 16, "text-anchor": "middle" }, String(value));
      }
      for (const value of [0, 0.5, 1]) {
        add(map, "text", { x: box.left - 6, y: y(value) + 4, "text-anchor": "end" }, String(value));
      }
      add(map, "text", { x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle" }, "state dimension per label, d/n");
      add(map, "text", { x: box.left + 6, y: box.top + 14 }, "ρ²");
      const delta = state.d / state.n;
      const squared = state.rho * state.rho;
      if (delta <= most) {
        add(map, "circle", { class: "here", cx: x(delta), cy: y(squared), r: 6 });
      } else {
        const [px, py] = [x(most), y(squared)];
        add(map, "path", { class: "here", d: `M${px - 12},${py - 7}L${px},${py}L${px - 12},${py + 7}Z` });
      }
      const descent = spot.degenerate ? "no first descent" : "a first descent";
      const phase = state.ridge === 0 ? optimum.phase : globalOptimum({ ...state, ridge: 0 }).phase;
      map.setAttribute("aria-label", `Phase map without ridge. At d/n = ${show(delta)} and ρ² = ${show(squared)} the best size of all is ${phase}, with ${descent} below the threshold.`);
    }

    // Suggestions in the text, most of it still to come, become buttons.
    function suggest() {
      for (const place of document.querySelectorAll("[data-explorer]")) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "explorer-try";
        button.append(...place.childNodes);
        place.append(button);
        button.addEventListener("click", () => {
          change(parse(place.dataset.explorer));
          const reduced = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
          root.scrollIntoView({ block: "start", behavior: reduced ? "auto" : "smooth" });
        });
      }
    }
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", suggest);
    else suggest();

    let lastWidth = 0;
    new ResizeObserver(() => {
      if (root.clientWidth === lastWidth) return;
      lastWidth = root.clientWidth;
      render();
    }).observe(root);
    render();
    // What the address asks for may lie outside the sliders: it says what is shown.
    if (window.location.search !== "") address(`?${serialise(state)}`);
  }

  const root = document.getElementById("explorer");
  if (root) build(root);

  return { PARAMETERS, parse, serialise, positiveRoot, risk, limitRisk, sweetSpot, globalOptimum, boundaries, optimalRidge, draw: { add, ticks, range, show, whole } };
})();
