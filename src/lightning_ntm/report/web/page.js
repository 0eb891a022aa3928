"use strict";
// The page reads without this script. It adds: what a curve says where it is pointed at, and picking out a seed.
(() => {
  const { runs, axis, words } = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const near = 30; // in units of the drawing, a 374th of its width each
  let picked = null;

  function pick(run) {
    picked = run === picked ? null : run;
    document.body.classList.toggle("picking", picked !== null);
    for (const element of document.querySelectorAll("[data-run]")) {
      const mine = Number(element.dataset.run) === picked;
      element.classList.toggle("picked", mine);
      if (element.matches("button")) element.setAttribute("aria-pressed", mine);
    }
    const shown = picked === null ? "" : `${runs[picked].network}, seed ${runs[picked].seed}`;
    document.querySelector(".pick output").textContent = shown;
  }

  // A plot: its svg, what it shows, and where a measurement stands in it.
  function plotOf(figure) {
    const svg = figure.querySelector("svg");
    const numbers = (name) => svg.dataset[name].split(" ").map(Number);
    const [left, top, right, bottom] = numbers("box");
    const { split, measure, scale } = figure.dataset;
    const height = scale === "log" ? Math.log10 : (value) => value;
    const [x0, x1] = numbers("x");
    const [y0, y1] = numbers("y").map(height);
    const floor = scale === "log" ? 10 ** Math.ceil(y0) : -Infinity; // zero is drawn there
    const mine = figure.dataset.runs ? figure.dataset.runs.split(" ").map(Number) : runs.map((_, number) => number);
    const place = (run, index) => {
      const { step, [measure]: values } = runs[run][split];
      return [
        left + ((step[index] - x0) / (x1 - x0)) * (right - left),
        bottom - ((height(Math.max(values[index], floor)) - y0) / (y1 - y0)) * (bottom - top),
      ];
    };
    return { svg, split, measure, mine, place, at: null };
  }

  function text(plot, run, index) {
    const { step, written, [plot.measure]: values } = runs[run][plot.split];
    const where = written ? `${axis} ${written[index]}` : `step ${step[index].toLocaleString("en")}`;
    return `${runs[run].network}, seed ${runs[run].seed}\n${where}: ${values[index]} ${words[plot.measure]}`;
  }

  function show(plot, run, index) {
    plot.at = [run, index];
    const [x, y] = plot.place(run, index);
    let point = plot.svg.querySelector(".point");
    if (!point) {
      point = document.createElementNS(plot.svg.namespaceURI, "circle");
      point.setAttribute("class", "point");
      point.setAttribute("r", 3);
      plot.svg.append(point);
    }
    point.setAttribute("cx", x);
    point.setAttribute("cy", y);
    tip.textContent = text(plot, run, index);
    tip.hidden = false;
    const spot = point.getBoundingClientRect();
    const width = tip.offsetWidth;
    const above = spot.top - tip.offsetHeight - 10;
    tip.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, spot.left + spot.width / 2 - width / 2))}px`;
    tip.style.top = `${above < 4 ? spot.bottom + 10 : above}px`;
  }

  function hide(plot) {
    plot.at = null;
    plot.svg.querySelector(".point")?.remove();
    tip.hidden = true;
  }

  // The measurement nearest to a place on the screen, of the picked seed if there is one in this plot.
  function nearest(plot, event) {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.svg.getScreenCTM().inverse());
    let best = { distance: near, found: null };
    for (const run of plot.mine.includes(picked) ? [picked] : plot.mine) {
      const values = runs[run][plot.split][plot.measure];
      for (let index = 0; index < values.length; index += 1) {
        if (values[index] === null) continue;
        const [px, py] = plot.place(run, index);
        const distance = Math.hypot(px - x, py - y);
        if (distance < best.distance) best = { distance, found: [run, index] };
      }
    }
    return best.found;
  }

  // Arrow keys: along a curve, and from one seed to the next.
  function move(plot, event) {
    const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
    const across = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
    if (event.key === "Escape") return hide(plot), picked === null || pick(picked);
    if (event.key === "Enter" && plot.at) return pick(plot.at[0]);
    if (!along && !across) return;
    event.preventDefault();
    const have = plot.mine.filter((run) => runs[run][plot.split][plot.measure].some((value) => value !== null));
    if (!have.length) return;
    let [run, index] = plot.at ?? [have.includes(picked) ? picked : have[0], -1];
    run = have[(have.indexOf(run) + across + have.length) % have.length];
    const values = runs[run][plot.split][plot.measure];
    index = Math.max(0, Math.min(values.length - 1, index + along));
    while (values[index] === null && index > 0) index -= 1;
    if (values[index] !== null) show(plot, run, index);
  }

  for (const plot of [...document.querySelectorAll(".plot")].map(plotOf)) {
    plot.svg.tabIndex = 0;
    plot.svg.addEventListener("pointermove", (event) => {
      const found = nearest(plot, event);
      if (found) show(plot, ...found);
      else hide(plot);
    });
    plot.svg.addEventListener("pointerleave", () => hide(plot));
    plot.svg.addEventListener("blur", () => hide(plot));
    plot.svg.addEventListener("keydown", (event) => move(plot, event));
    plot.svg.addEventListener("click", (event) => {
      const found = nearest(plot, event);
      if (found) pick(found[0]);
      else if (picked !== null) pick(picked);
    });
  }
  for (const button of document.querySelectorAll("button[data-run]")) {
    button.addEventListener("click", () => pick(Number(button.dataset.run)));
  }
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && picked !== null && !event.defaultPrevented && !event.target.closest("svg")) pick(picked);
  });
  document.querySelector(".pick").hidden = false;

  // What is folded up on the screen is printed too.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("main details:not([open])")];
    for (const part of folded) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of folded) part.open = false;
  });
})();
