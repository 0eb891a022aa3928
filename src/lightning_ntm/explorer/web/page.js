"use strict";
/* The page: an episode that the reader chooses or draws, the network at work on it, and one step of it in detail. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const network = data.network && NETWORK.opened(data.network), layout = network && data.layout, answer = data.answer;
  // The weights of steps of the training, in their order; those that the run kept come last.
  const training = network && data.training.steps.length ? [
    ...data.training.steps.map(({ step, tensors }) => ({ name: `step ${step}`, packed: tensors })),
    { name: "the network of the run", tensors: network.tensors },
  ] : null;
  const samples = data.samples.map(({ label, arrays }) => ({
    label, arrays: Object.fromEntries(Object.entries(arrays).map(([name, packed]) => [name, NETWORK.unpacked(packed)])),
  }));
  const [ntm, dnc, sparse] = ["ntm", "dnc", "sparse"].map((kind) => network?.memory?.kind === kind);
  const $ = (id) => document.getElementById(id);
  const MOST_STEPS = 2000, MOST_LENGTH = 200, SEEN = 0.1;

  const state = {
    time: 0, sample: 0, items: null, repeats: 1, edits: new Map(), changes: new Map(), playing: false, slot: null, row: 0,
    trained: training ? training.length - 1 : 0,
  };
  let episode, trace, outputs, found, before, slots, timelines, strips, heads;

  // Elements -----------------------------------------------------------------------------------------------------------

  function element(tag, properties = {}, ...children) {
    const { dataset, ...others } = properties, made = Object.assign(document.createElement(tag), others);
    Object.assign(made.dataset, dataset);
    made.append(...children);
    return made;
  }

  /** Return a number with so many decimals; what rounds to zero has no sign. */
  const fixed = (value, digits) => (Math.round(value * 10 ** digits) / 10 ** digits + 0).toFixed(digits);
  const brief = (value) => fixed(value, Math.abs(value) >= 100 ? 0 : 2);
  const titled = (name) => data.titles[name] ?? name[0].toUpperCase() + name.slice(1).replaceAll("_", " ").replaceAll(".", " ");
  const symbol = (kind, row) => data.names[kind][row] ?? String(row);
  const numbers = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  /** Return a slider with its name and value. */
  function slider(name, range, onInput) {
    const input = element("input", { type: "range", ...range }), output = element("output", {}, String(range.value));
    input.addEventListener("input", () => { output.textContent = input.value; onInput(Number(input.value)); });
    const label = element("label", {}, `${name} `, input, " ", output);
    return { label, set: (value) => { input.value = value; output.textContent = value; } };
  }

  // Episodes -----------------------------------------------------------------------------------------------------------

  const own = () => layout && state.items;

  function presented() {
    if (own()) return EPISODES.made(layout, state.items, state.repeats);
    const { inputs, targets, mask } = samples[state.sample].arrays;
    if (!state.edits.size) return { inputs, targets: targets ?? null, mask: mask ?? null };
    const changed = { shape: inputs.shape, data: Float32Array.from(inputs.data) };
    for (const [key, value] of state.edits) changed.data[key] = value;
    return { inputs: changed, targets: null, mask: null };
  }

  function rerun() {
    episode = presented();
    const seen = samples[state.sample].arrays;
    trace = network ? NETWORK.run(network, episode.inputs, state.changes) : seen;
    if (network) Object.assign(trace, CELLS.shown(trace));
    outputs = network ? EPISODES.shown(answer, trace.logits) : seen.outputs;
    found = EPISODES.errors(answer, outputs, episode);
    before = null;
    if (state.changes.size) {
      const plain = EPISODES.shown(answer, NETWORK.run(network, episode.inputs).logits);
      before = EPISODES.errors(answer, plain, episode);
    }
    state.time = Math.min(state.time, episode.inputs.shape[0] - 1);
    show();
  }

  /** Take the weights of a step of the training. */
  function train(number) {
    state.trained = number;
    const chosen = training[number];
    chosen.tensors ??= Object.fromEntries(Object.entries(chosen.packed).map(([name, packed]) => [name, NETWORK.unpacked(packed)]));
    network.tensors = chosen.tensors;
  }

  /** Change the value of an input in a step, if it may be changed. */
  function edit(time, row) {
    if (!network) return;
    if (own()) {
      const place = EPISODES.placeAt(layout, state.items, time);
      if (place < 0) return;
      if (layout.kind === "string") {
        const items = state.items.map((item, i) => (i === place ? [row] : item));
        if (EPISODES.valid(layout, items)) state.items = items;
      } else if (row < layout.bits) state.items[place][row] = 1 - state.items[place][row];
    } else {
      const size = episode.inputs.shape[1], at = time * size;
      if (!oneHot) put(at + row, episode.inputs.data[at + row] === 0 ? 1 : 0);
      else for (let other = 0; other < size; other++) put(at + other, other === row ? 1 : 0);
    }
    rerun();
  }

  function put(key, value) {
    state.edits.set(key, value);
    if (samples[state.sample].arrays.inputs.data[key] === value) state.edits.delete(key);
  }

  /** Whether each step shows one symbol: then a change of an input chooses another one. */
  const oneHot = samples.every(({ arrays: { inputs: { shape: [, size], data: values } } }) => {
    for (let at = 0; at < values.length; at += size) {
      const step = values.subarray(at, at + size);
      if (step.filter((value) => value === 1).length !== 1 || step.some((value) => value !== 0 && value !== 1)) return false;
    }
    return samples[0].arrays.inputs.shape[1] > 1;
  });

  function resized(length) {
    state.items = EPISODES.random(layout, length, state.items);
    if (layout.kind === "recall") state.repeats = Math.min(state.repeats, length - 1);
    state.changes.clear();
    rerun();
  }

  // What there is to see -------------------------------------------------------------------------------------------------

  /** Return a function (time, ...indices) -> number on an array of the trace. */
  function reader(name) {
    const { shape, data: values } = trace[name];
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
    return (...indices) => values[indices.reduce((at, index, axis) => at + index * strides[axis], 0)];
  }

  /** Return the function of `reader` for now and for later runs, on numbers that are divided so as to be within ±1. */
  function scaled(name) {
    return (...indices) => {
      let scale = scales.get(trace[name]);
      if (!scale) {
        scale = trace[name].data.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
        scales.set(trace[name], scale);
      }
      return reader(name)(...indices) / scale;
    };
  }
  const scales = new WeakMap();

  /** Return the weightings to draw over time: {name, label, heads, of(time, head, slot), kind}. */
  function weightings() {
    if (ntm) {
      const { reads, writes } = network.memory, of = reader("weights");
      return [
        { label: "Write head", heads: writes, of: (t, head, slot) => of(t, reads + head, slot), first: reads, kind: "write" },
        { label: "Read head", heads: reads, of, first: 0, kind: "read" },
      ];
    }
    if (!trace.memory) return [];
    const count = trace.memory.shape[1], result = [];
    for (const [name, { shape }] of Object.entries(trace)) {
      if (!ofSlots(name, shape, count)) continue;
      if (dnc && !DNC_WEIGHTINGS.includes(name)) continue;
      const of = reader(name), label = titled(name) + (name === "content_weights" && trace.write_content_weights ? " for reading" : ""), kind = /write|alloc/.test(name) ? "write" : "read";
      result.push({ name, label, heads: shape.length === 3 ? shape[1] : 1, kind, first: null,
                    of: shape.length === 3 ? of : (t, _, slot) => of(t, slot) });
    }
    return dnc ? result.sort((a, b) => DNC_WEIGHTINGS.indexOf(a.name) - DNC_WEIGHTINGS.indexOf(b.name)) : result;
  }
  const DNC_WEIGHTINGS = ["write_weights", "read_weights", "usage", "allocation_weights", "write_content_weights",
    "content_weights", "forward_weights", "backward_weights"];

  /** Whether an array has a number for each slot; a memory may be as wide as it has slots. */
  function ofSlots(name, shape, count) {
    return shape.at(-1) === count && shape.length > 1 && shape.length < 4 && name !== "weights" && !data.vectors.includes(name);
  }

  /** Return the weightings by which heads read and write. */
  function acting() {
    const all = weightings(), found = all.filter(({ name }) => ntm || /^(read|write)_weights$/.test(name));
    return found.length ? found : all;
  }

  /** Return the slots that heads use in this episode, at least eight in a row: {low, count, total}. Those of an NTM are a
  circle. */
  function usedSlots() {
    if (!trace.memory) return null;
    const [time, total] = trace.memory.shape, used = new Uint8Array(total);
    for (const { heads: number, of } of acting()) {
      for (let head = 0; head < number; head++) {
        for (let slot = 0; slot < total; slot++) {
          for (let t = 0; t < time && !used[slot]; t++) used[slot] = of(t, head, slot) > SEEN ? 1 : 0;
        }
      }
    }
    if (!ntm) {
      const low = Math.max(0, used.indexOf(1) - 1), count = Math.max(8, used.lastIndexOf(1) + 2 - low);
      return used.includes(1) && low + count < total ? { low, count, total } : { low: 0, count: total, total };
    }
    let low = 0, gap = 0; // the slot after the longest row of unused ones
    for (let slot = 0, length = 0; slot < 2 * total; slot++) {
      length = used[slot % total] ? 0 : length + 1;
      if (length > gap && length <= total) [gap, low] = [length, (slot + 1) % total];
    }
    const count = total - gap + 2;
    if (gap === total || count > 0.8 * total || total <= 8) return { low: 0, count: total, total };
    const added = Math.max(0, 8 - count);
    return { low: (low - 1 - (added >> 1) + total) % total, count: count + added, total };
  }

  const slotOf = (row) => (slots.low + row) % slots.total;
  const rowOf = (slot) => (slot - slots.low + slots.total) % slots.total;

  const rowHeight = (rows) => (rows > 64 ? 2.5 : rows > 32 ? 5 : rows > 16 ? 8 : 12);

  /** Return the names of the rows from above, where the task has names and they are few. */
  function named(kind) {
    const names = data.names[kind], text = names.join(", ");
    return names.length && names.length <= 10 && text.length <= 60 ? `, rows from above: ${text}` : "";
  }

  /** Add a picture with time from left to right. */
  function timeline(label, rows, value, { kind, marks = [], className = "", note = "", rows: names = "", height = rowHeight(rows), half = false } = {}) {
    const canvas = element("canvas", { role: "img" });
    canvas.setAttribute("aria-label", `${label} over ${numbers(episode.inputs.shape[0], "step")}`);
    const caption = element("figcaption", {}, element("span", {}, label + names), element("span", {}, note));
    if (className) caption.firstChild.prepend(element("span", { className: `key ${className}` }));
    $("panels").append(element("figure", { className: half ? "half" : "" }, caption, canvas));
    const line = new DRAWING.Timeline(canvas, rows, height);
    line.paint(episode.inputs.shape[0], rows, value, kind);
    line.marks = marks;
    timelines.push(line);
    canvas.addEventListener("pointerdown", (event) => scrub(line, event));
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) scrub(line, event); });
    return line;
  }

  function scrub(line, event) {
    go(line.cell(event)[0]);
    if (event.type === "pointerdown" && event.pointerType === "mouse") line.canvas.setPointerCapture(event.pointerId);
  }

  function show() {
    const focused = document.activeElement?.id === "inputs";
    timelines = [];
    $("panels").replaceChildren();
    const largest = (array) => array.data.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    const of = (array, scale = largest(array)) => (t, row) => array.data[t * array.shape[1] + row] / scale;
    const kind = (array) => (array.data.some((value) => value < 0) ? "signed" : "weight");
    const inputs = timeline("Input", episode.inputs.shape[1], of(episode.inputs), {
      kind: kind(episode.inputs), note: network ? "click to change" : "", rows: named("inputs") });
    editable(inputs, focused);
    tell(inputs, "inputs");
    if (episode.targets) {
      const target = of(episode.targets), masked = (t, row) => (episode.mask.data[t] ? target(t, row) : 0);
      const note = found.padding.size ? "pale after the end symbol: padding" : "";
      const line = timeline("Target", episode.targets.shape[1], masked, { kind: kind(episode.targets), note, rows: named("outputs") });
      line.asked = Array.from(episode.mask.data, (_, t) => !found.padding.has(t));
      tell(line, "outputs");
    }
    const output = timeline("Output", outputs.shape[1], of(outputs), { kind: kind(outputs), marks: found.wrong, note: units(), rows: named("outputs") });
    output.asked = episode.mask && Array.from(episode.mask.data, (one, t) => one && !found.padding.has(t));
    tell(output, "outputs");
    slots = usedSlots();
    for (const weighting of weightings()) {
      for (let head = 0; head < weighting.heads; head++) showWeighting(weighting, head);
    }
    if (!trace.memory && !trace.hidden) showOwn();
    if (dnc || sparse) showGates();
    for (const name of Object.keys(trace)) if (name.startsWith("cells_")) showCells(name);
    if (!trace.memory && trace.hidden) {
      const { shape } = trace.hidden, hidden = scaled("hidden"), layered = shape.length === 3;
      const layers = layered ? shape[1] : 1, size = shape.at(-1);
      for (let layer = 0; layer < layers; layer++) {
        const of = (t, row) => (layered ? hidden(t, layer, row) : hidden(t, row));
        timeline(layers > 1 ? `Hidden units of layer ${layer + 1}` : "Hidden units", size, of, { kind: "signed", height: Math.max(1, 160 / size) });
      }
    }
    if (!strips || !ntm) prepare(); // the sliders of an NTM stay
    verdict();
    $("time").max = episode.inputs.shape[0] - 1;
    drawNow();
  }

  /** Show how a DNC or a sparse memory chooses where to write and to read. */
  function showGates() {
    const write = reader("write_gate"), other = reader(dnc ? "allocation_gate" : "reuse_gate");
    timeline(`Write gate above, ${dnc ? "allocation" : "reuse"} gate below`, 2, (t, row) => (row ? other : write)(t), {
      height: 10, note: `1 writes; 1 ${dnc ? "to unused slots" : "where was read"}` });
    if (!trace.read_modes) return;
    const modes = reader("read_modes"), { reads } = network.memory;
    for (let head = 0; head < reads; head++) {
      timeline(`Read modes${reads > 1 ? ` of head ${head + 1}` : ""}`, 3, (t, row) => modes(t, head, row), { height: 10, note: "backward, content, forward" });
    }
  }

  /** Show all that a network without a known memory or hidden units observes. */
  function showOwn() {
    for (const [name, rows, columns, value] of others()) {
      for (let part = 0; part < Math.min(rows, 8); part++) {
        timeline(`${titled(name)}${rows > 1 ? ` ${part + 1}` : ""}`, columns, (t, row) => value(t, part, row), {
          kind: "signed", height: Math.max(1, Math.min(12, 160 / columns)) });
      }
    }
  }

  const ACTIONS = { stack: ["push", "pop", "no-op"], tape: ["stay", "left", "right", "jump left", "jump right"] };

  /** Show what a stack or a tape holds, and what is done to it. */
  function showCells(name) {
    const [, kind, number] = name.split("_"), heads = trace[`head_${kind}_${number}`];
    const line = timeline(`${kind === "stack" ? "Stack" : "Tape"} ${number}`, trace[name].shape[1], scaled(name), {
      kind: "signed", note: heads ? "a row for each cell, the head is framed" : "a row for each cell, the top above" });
    if (heads) Object.assign(line, { marks: [...heads.data.entries()], frames: "ink" });
    const actions = reader(`${kind}_actions`), count = trace[`${kind}_actions`].shape[2];
    timeline(`Actions of ${kind} ${number}`, count, (t, row) => actions(t, number - 1, row), {
      height: 10, note: ACTIONS[kind].slice(0, count).join(", ") });
  }

  /** Tell the name of a row to which the mouse points, where the task has names. */
  function tell(line, kind) {
    if (!data.names[kind].length) return;
    line.canvas.addEventListener("pointermove", (event) => {
      const [t, row] = line.cell(event);
      tip(event, `step ${t}: ${symbol(kind, row)}`);
    });
    line.canvas.addEventListener("pointerleave", () => tip(null));
  }

  /** Return the symbols of a step in words. */
  function symbolsOf(time) {
    if (answer.kind !== "symbols") return "";
    const row = ({ shape: [, size], data: values }) => values.subarray(time * size, (time + 1) * size);
    const largest = (values) => values.indexOf(values.reduce((most, value) => Math.max(most, value)));
    const told = oneHot ? [`input ${symbol("inputs", largest(row(episode.inputs)))}`] : [];
    if (!episode.mask || episode.mask.data[time]) {
      const shown = row(outputs), chosen = largest(shown);
      if (episode.targets) told.push(`target ${symbol("outputs", largest(row(episode.targets)))}`);
      told.push(`output ${symbol("outputs", chosen)} (${fixed(shown[chosen], 2)})`);
    }
    return told.length ? `In this step: ${told.join(", ")}.` : "";
  }

  const units = () => (answer.kind === "numbers" ? "" : "probabilities");

  /** Return the name of one of so many heads; where all heads are together, those that read come first. */
  function headOf(number, head) {
    const [reads, writes] = ["read_weights", "write_weights"].map((name) => trace[name]?.shape.at(-2) ?? 0);
    if (network || !reads || !writes || number !== reads + writes) return `head ${head + 1}`;
    return head < reads ? `read head ${head + 1}` : `write head ${head - reads + 1}`;
  }

  function showWeighting({ name, label, heads: number, of, first, kind }, head) {
    const shown = slots.count === slots.total ? `${slots.total} slots` : `slots ${slotOf(0)} to ${slotOf(slots.count - 1)} of ${slots.total}`;
    const line = timeline(first !== null ? `${label} ${head + 1}` : number > 1 ? `${label}, ${headOf(number, head)}` : label, slots.count,
      (t, row) => of(t, head, slotOf(row)), { className: kind, note: shown, half: dnc && name && !["write_weights", "read_weights"].includes(name) });
    line.canvas.addEventListener("pointermove", (event) => {
      const [t, row] = line.cell(event);
      tip(event, `step ${t}, slot ${slotOf(row)}: ${fixed(of(t, head, slotOf(row)), 3)}`);
      point(slotOf(row));
    });
    line.canvas.addEventListener("pointerleave", () => { tip(null); point(null); });
    line.ofSlots = true;
    if (first === null) return;
    const gate = reader("gate"), shift = reader("shift"), most = network.memory.max_shift;
    const expected = (t) => {
      let sum = 0;
      for (let i = 0; i <= 2 * most; i++) sum += (i - most) * shift(t, first + head, i);
      return most ? sum / most : 0;
    };
    timeline(`${label} ${head + 1}: gate above, shift below`, 2, (t, row) => (row ? expected(t) : gate(t, first + head)), {
      kind: "signed", height: 7, note: "blue: content; higher slots" });
  }

  /** Let a picture of inputs be changed by clicks and keys. */
  function editable(line, focused) {
    if (!network) return;
    const { canvas } = line;
    Object.assign(canvas, { id: "inputs", tabIndex: 0 });
    let from = null;
    canvas.addEventListener("pointerdown", (event) => { from = line.cell(event); });
    canvas.addEventListener("pointerup", (event) => {
      const [t, row] = line.cell(event);
      if (from && from[0] === t && from[1] === row) { state.row = row; edit(t, row); }
      from = null;
    });
    canvas.addEventListener("keydown", (event) => {
      const move = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (move) state.row = Math.min(line.rows - 1, Math.max(0, state.row + move));
      else if (event.key === "Enter") edit(state.time, state.row);
      else if (/^[0-9]$/.test(event.key) && Number(event.key) < line.rows) edit(state.time, Number(event.key));
      else return;
      event.preventDefault();
      draw();
    });
    canvas.addEventListener("focus", draw);
    canvas.addEventListener("blur", draw);
    if (focused) canvas.focus({ preventScroll: true });
  }

  function verdict() {
    const { wrong, asked } = found, unit = answer.unit, said = [];
    if (!episode.targets) said.push(state.edits.size ? "The target of a changed input is not known." : "There is no target.");
    else if (wrong.length && asked === 1) said.push(element("b", { className: "bad" }, `The ${unit} is wrong`));
    else if (wrong.length) said.push(element("b", { className: "bad" }, `${wrong.length} of ${asked} ${unit}s wrong`));
    else said.push(element("b", {}, asked === 1 ? `The ${unit} is right` : `All ${asked} ${unit}s right`));
    if (before) {
      said.push(`, with ${numbers(state.changes.size, "step")} changed`);
      if (episode.targets) said.push(` (without: ${before.wrong.length} wrong)`);
      const reset = element("button", { type: "button" }, "undo changes");
      reset.addEventListener("click", () => { state.changes.clear(); rerun(); });
      said.push(". ", reset);
    }
    if (state.edits.size) {
      const reset = element("button", { type: "button" }, "undo inputs");
      reset.addEventListener("click", () => { state.edits.clear(); rerun(); });
      said.push(" ", reset);
    }
    $("verdict").replaceChildren(...said);
  }

  // One step -------------------------------------------------------------------------------------------------------------

  /** Make the elements of the step; `draw` fills them. */
  function prepare() {
    strips = [];
    heads = [];
    const parts = [];
    if (trace.memory) parts.push(element("h2", {}, "Memory after this step"), memoryFigure());
    if (dnc) {
      const square = element("div", { className: "strips" }), link = reader("link");
      addStrip(square, "links", slots.count, () => slots.count, (t, to, from) => link(t, slotOf(to), slotOf(from)), "weight", Math.max(3, Math.min(14, 320 / slots.count)));
      parts.push(element("h2", {}, "Links after this step"), square, element("p", { className: "note" }, "Row: a slot; column: the slot that was written before it."));
    }
    if (ntm) {
      const cards = element("div", { className: "heads" });
      const { reads, writes } = network.memory;
      for (let head = 0; head < reads + writes; head++) cards.append(card(head < reads ? "Read" : "Write", head));
      parts.push(element("h2", {}, "Heads in this step"), cards);
    }
    const rest = others();
    if (rest.length) {
      const grid = element("div", { className: "strips" });
      for (const [name, rows, columns, value] of rest) addStrip(grid, name, rows, () => columns, value, "signed");
      parts.push(element("h2", {}, dnc || sparse ? "Heads and controller in this step" : network ? "Controller" : "Other parts of this step"), grid);
    }
    if (data.left_out.length) parts.push(element("p", { className: "note" }, `Not on this page, for its size: ${data.left_out.join(", ")}.`));
    $("step").replaceChildren(...parts);
  }

  /** Return the arrays without a place of their own: [name, rows, columns, value(time, row, column)]. */
  function others() {
    const own = [...(dnc || sparse ? HEADS : []), "hidden", "cell"], names = network ? own.filter((name) => trace[name]) : Object.keys(trace);
    const count = trace.memory?.shape[1], result = [];
    for (const name of names) {
      const { shape } = trace[name];
      if (/^(cells|head)_|^(stack|tape)_actions$/.test(name) || ["inputs", "targets", "mask", "outputs", "errors", "measured", "logits", "memory", "weights"].includes(name) || shape.length > 3) continue;
      if (!network && count && ofSlots(name, shape, count)) continue;
      const [, rows = 1, columns = null] = shape;
      if (columns !== null) result.push([name, rows, columns, scaled(name)]);
      else result.push([name, 1, rows, (t, _, column) => (shape.length === 1 ? scaled(name)(t) : scaled(name)(t, column))]);
    }
    return result;
  }

  const HEADS = ["write_key", "write_strength", "write_mask", "erase", "add", "allocation_gate", "write_gate", "reuse_gate", "read_key",
    "read_strength", "read_mask", "free_gates", "read_modes", "forward_sharpness", "backward_sharpness", "reads"];

  /** Add a picture of rows and columns: `columns()` of them, with `value(time, row, column)`. */
  function addStrip(grid, name, rows, columns, value, kind, high = rows > 8 ? 4 : 11) {
    const canvas = element("canvas", { role: "img" });
    canvas.setAttribute("aria-label", titled(name));
    grid.append(element("span", {}, titled(name)), canvas);
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect(), at = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
      const column = at((event.clientX - box.left) / box.width, columns()), row = at((event.clientY - box.top) / box.height, rows);
      tip(event, `${titled(name)} ${rows > 1 ? `${row}, ` : ""}${column}: ${fixed(value(state.time, row, column), 3)}`);
    });
    canvas.addEventListener("pointerleave", () => tip(null));
    strips.push(() => DRAWING.strip(canvas, rows, columns(), (row, column) => value(state.time, row, column), kind, high));
  }

  function card(kind, head) {
    const { reads, width, max_shift: most } = network.memory, number = kind === "Read" ? head + 1 : head - reads + 1;
    const reset = element("button", { type: "button" }, "undo"), title = element("h3", {});
    title.append(element("span", {}, element("span", { className: `key ${kind.toLowerCase()}` }), `${kind} head ${number}`), reset);
    const box = element("div", { className: "head" }, title), rows = {};
    for (const [name, range] of Object.entries({
      gate: { min: 0, max: 1, step: 0.01 }, shift: { min: -most, max: most, step: 0.05 }, strength: { min: 0, max: 30, step: 0.1 },
    })) {
      const input = element("input", { type: "range", ...range, disabled: name === "shift" && !most });
      input.setAttribute("aria-label", `${name} of ${kind.toLowerCase()} head ${number}`);
      const output = element("output"), row = element("div", { className: "value" }, element("span", {}, name), input, output);
      input.addEventListener("input", () => changeHead(head, name, Number(input.value)));
      box.append(row);
      rows[name] = { row, input, output };
    }
    const sharpening = element("output");
    box.append(element("div", { className: "value" }, element("span", {}, "sharpening"), element("span"), sharpening));
    reset.addEventListener("click", () => { forget(state.time, head); });
    const grid = element("div", { className: "strips" }), of = reader, used = () => slots.count, wide = () => width;
    const previous = (t, _, slot) => (t ? of("weights")(t - 1, head, slotOf(slot)) : startWeight(head, slotOf(slot)));
    addStrip(grid, "before", 1, used, previous, "weight");
    addStrip(grid, "content", 1, used, (t, _, slot) => of("content_weights")(t, head, slotOf(slot)), "weight");
    addStrip(grid, "now", 1, used, (t, _, slot) => of("weights")(t, head, slotOf(slot)), "weight");
    addStrip(grid, "key", 1, wide, (t, _, i) => of("key")(t, head, i), "signed");
    if (kind === "Write") {
      addStrip(grid, "erase", 1, wide, (t, _, i) => of("erase")(t, head - reads, i), "weight");
      addStrip(grid, "add", 1, wide, (t, _, i) => of("add")(t, head - reads, i), "signed");
    } else addStrip(grid, "read", 1, wide, (t, _, i) => of("reads")(t, head, i), "signed");
    box.append(grid);
    heads.push({ head, rows, sharpening, reset });
    return box;
  }

  function startWeight(head, slot) {
    const learned = network.tensors.start_heads, count = network.memory.slots;
    if (!learned) return slot === 0 ? 1 : 0;
    return NETWORK.softmax(learned.data.subarray(head * count, (head + 1) * count))[slot];
  }

  function changeHead(head, name, value) {
    const ofStep = state.changes.get(state.time) ?? new Map(), ofHead = ofStep.get(head) ?? {};
    ofHead[name] = value;
    ofStep.set(head, ofHead);
    state.changes.set(state.time, ofStep);
    soon();
  }

  function forget(time, head) {
    const ofStep = state.changes.get(time);
    ofStep?.delete(head);
    if (ofStep && !ofStep.size) state.changes.delete(time);
    rerun();
  }

  let waiting = false;
  /** Run the network again with the next picture. */
  function soon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; rerun(); });
  }

  function memoryFigure() {
    const canvas = element("canvas", { role: "img" }), about = element("p", { id: "slot", className: "note" });
    canvas.setAttribute("aria-label", "memory: slots by width");
    const heads = acting().length > 0, caption = element("figcaption", {}, element("span"), "one row a slot");
    if (heads) {
      canvas.addEventListener("pointermove", (event) => point(slotAt(canvas, event)));
      canvas.addEventListener("pointerdown", (event) => point(slotAt(canvas, event)));
      canvas.addEventListener("pointerleave", () => point(null));
      caption.firstChild.append(element("span", { className: "key write" }), "write weighting ", element("span", { className: "key read" }), "read weighting");
    }
    strips.push(() => drawMemory(canvas));
    return element("figure", {}, caption, canvas, about);
  }

  const slotAt = (canvas, event) => {
    const box = canvas.getBoundingClientRect();
    return slotOf(Math.min(slots.count - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * slots.count))));
  };

  function drawMemory(canvas) {
    const rows = slots.count, high = Math.max(4, Math.min(16, 320 / rows)), colors = DRAWING.colors();
    const { context, width, height } = DRAWING.fitted(canvas, rows * high), memory = scaled("memory"), columns = trace.memory.shape[2];
    const left = 30, bar = 9, shown = acting().flatMap((one) => Array.from({ length: one.heads }, (_, head) => ({ ...one, head })));
    const cells = left + shown.length * (bar + 2) + 4;
    shown.forEach(({ of, head, kind }, i) => {
      for (let row = 0; row < rows; row++) {
        context.globalAlpha = Math.min(1, of(state.time, head, slotOf(row)));
        context.fillStyle = colors[kind];
        context.fillRect(left + i * (bar + 2), row * high, bar, high - (high > 5 ? 1 : 0));
      }
      context.globalAlpha = 1;
      context.strokeStyle = colors.line;
      context.strokeRect(left + i * (bar + 2) - 0.5, 0.5, bar + 1, height - 1);
    });
    const picture = DRAWING.image(columns, rows, (column, row) => memory(state.time, slotOf(row), column), "signed");
    context.drawImage(picture, cells, 0, width - cells, height);
    context.fillStyle = colors.soft;
    context.font = `${Math.min(11, Math.max(8, high))}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    const every = Math.ceil(11 / high);
    for (let row = 0; row < rows; row += every) context.fillText(slotOf(row), left - 5, (row + 0.5) * high);
    if (state.slot !== null && rowOf(state.slot) < rows) DRAWING.rectangle(context, 0, rowOf(state.slot) * high, width, high, colors.ink);
  }

  /** Point a slot out and tell which steps wrote and read it. */
  function point(slot) {
    state.slot = slot;
    for (const line of timelines) if (line.ofSlots) line.row = slot === null ? null : rowOf(slot);
    if (slot !== null && $("slot")) $("slot").textContent = whoUsed(slot);
    draw();
  }

  function whoUsed(slot) {
    const told = { write: [], read: [] };
    for (const { heads: number, of, kind } of acting()) {
      for (let head = 0; head < number; head++) {
        for (let t = 0; t < episode.inputs.shape[0]; t++) {
          if (of(t, head, slot) > SEEN) told[kind].push(`${t}${of(t, head, slot) < 0.95 ? ` (${of(t, head, slot).toFixed(2)})` : ""}`);
        }
      }
    }
    const listed = (steps) => (steps.length > 12 ? `${steps.slice(0, 12).join(", ")} and ${steps.length - 12} more` : steps.join(", ") || "none");
    return `Slot ${slot}: written in steps ${listed(told.write)}; read in steps ${listed(told.read)}.`;
  }

  // Drawing ------------------------------------------------------------------------------------------------------------

  let queued = false;
  function draw() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; drawNow(); });
  }

  function drawNow() {
    const time = state.time, input = $("inputs");
    timelines[0].row = input && document.activeElement === input ? state.row : null;
    for (const line of timelines) line.draw(time);
    for (const strip of strips) strip();
    for (const { head, rows, sharpening, reset } of heads) {
      const changed = state.changes.get(time)?.get(head) ?? {}, most = network.memory.max_shift, shift = reader("shift");
      const values = { gate: reader("gate")(time, head), strength: reader("strength")(time, head), shift: 0 };
      for (let i = 0; i <= 2 * most; i++) values.shift += (i - most) * shift(time, head, i);
      for (const [name, { row, input: control, output }] of Object.entries(rows)) {
        row.classList.toggle("changed", changed[name] !== undefined);
        if (document.activeElement !== control || changed[name] === undefined) control.value = values[name];
        output.textContent = brief(values[name]);
      }
      sharpening.textContent = brief(reader("sharpening")(time, head));
      reset.hidden = !Object.keys(changed).length;
    }
    $("time").value = time;
    $("symbols").textContent = symbolsOf(time);
    $("when").textContent = `step ${time} of ${episode.inputs.shape[0] - 1}`;
    share();
    keepAddress();
  }

  function tip(event, text) {
    const box = $("tip");
    box.hidden = !event;
    if (!event) return;
    box.textContent = text;
    box.style.left = `${Math.min(event.clientX + 14, window.innerWidth - box.offsetWidth - 6)}px`;
    box.style.top = `${Math.min(event.clientY + 14, window.innerHeight - box.offsetHeight - 6)}px`;
  }

  // Time -----------------------------------------------------------------------------------------------------------------

  function go(time) {
    state.time = Math.min(episode.inputs.shape[0] - 1, Math.max(0, time));
    draw();
  }

  function play(playing) {
    state.playing = playing;
    $("play").textContent = playing ? "Pause" : "Play";
    $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    if (!playing) return;
    if (state.time === episode.inputs.shape[0] - 1) go(0);
    let last = performance.now();
    const tick = (now) => {
      if (!state.playing) return;
      const steps = Math.floor((now - last) / 1000 * Number($("speed").value));
      if (steps) { last = now; go(state.time + steps); }
      if (state.time === episode.inputs.shape[0] - 1) play(false);
      else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  // The address ------------------------------------------------------------------------------------------------------------

  let written = "", address = 0;
  function keepAddress() {
    clearTimeout(address);
    address = setTimeout(() => {
      written = `#${described()}`;
      try { window.history.replaceState(null, "", written); } catch { /* a page within a page has no address of its own */ }
    }, 150);
  }

  /** Return what the other page of a pair shows, too: the step and the episode. */
  function common() {
    const parts = [`t=${state.time}`];
    if (own()) parts.push(`i=${state.items.map((item) => item.join("")).join(".")}`, `r=${state.repeats}`);
    else parts.push(`e=${state.sample}`);
    if (state.edits.size) parts.push(`f=${[...state.edits].map(([key, value]) => `${key}.${value}`).join("_")}`);
    return parts.join("&");
  }

  /** Return what is of this page alone: changes of heads, and the step of the training. */
  function owned() {
    const parts = [], changes = [];
    for (const [time, ofStep] of state.changes) {
      for (const [head, ofHead] of ofStep) for (const [name, value] of Object.entries(ofHead)) changes.push(`${time}_${head}_${name}_${value}`);
    }
    if (changes.length) parts.push(`c=${changes.join("!")}`);
    if (training && state.trained < training.length - 1) parts.push(`w=${state.trained}`);
    return parts.join("&");
  }

  const described = () => [common(), owned()].filter(Boolean).join("&");

  let shared = null;
  /** Tell the page around a pair what is shown: what the other page shows, too, and what is of this page alone. */
  function share() {
    const shown = common(), own = owned();
    if (!data.paired || (shown === shared?.shown && own === shared.own)) return;
    window.parent.postMessage({ shown, own, starts: shared === null }, "*");
    shared = { shown, own };
  }

  /** Show what the other page of a pair shows, or all that the address of the pair has for this page. */
  function receive({ source, data: message }) {
    const whole = typeof message?.restored === "string", shown = whole ? message.restored : message;
    if (source !== window.parent || typeof shown !== "string" || shown === (whole ? described() : common())) return;
    const [step, ...others] = shown.split("&"), same = common().split("&").slice(1).join("&") === others.join("&");
    if (!whole && same && step.startsWith("t=")) {
      go(Number(step.slice(2)) || 0);
      shared = { shown: common(), own: owned() }; // what came from the other page is not sent back
      return;
    }
    const trained = state.trained; // each page has a slider of its own
    restore(shown);
    if (!whole) shared = { shown: common(), own: shared?.own };
    if (training && !whole) train(trained);
    rerun();
    follow();
  }

  /** Take the state from a text as that of the address, as far as it fits this network and task. */
  function restore(text) {
    const found = new Map(text.split("&").map((part) => [part.slice(0, 1), part.slice(2)]));
    const whole = (text, most) => (/^\d{1,6}$/.test(text ?? "") ? Math.min(most, Number(text)) : 0);
    state.sample = whole(found.get("e"), samples.length - 1);
    state.edits.clear();
    state.changes.clear();
    state.items = layout ? itemsOf(found.get("i")) ?? (found.has("e") ? null : EPISODES.random(layout, layout.start)) : null;
    state.repeats = layout ? Math.max(1, whole(found.get("r"), layout.most_repeats) || layout.repeats) : 1;
    if (layout?.kind === "recall" && state.items) state.repeats = Math.min(state.repeats, state.items.length / layout.group - 1);
    const size = samples[state.sample].arrays.inputs.data.length;
    for (const part of (found.get("f") ?? "").split("_")) {
      const [key, value] = part.split(".");
      if (network && !state.items && /^\d+$/.test(key) && Number(key) < size && /^[01]$/.test(value ?? "")) state.edits.set(Number(key), Number(value));
    }
    for (const part of (found.get("c") ?? "").split("!")) restoreChange(part.split("_"));
    state.time = whole(found.get("t"), MOST_STEPS);
    if (training) train(found.has("w") ? whole(found.get("w"), training.length - 1) : training.length - 1);
  }

  function itemsOf(text) {
    const items = (text ?? "").split("."), size = layout.kind === "string" ? 1 : layout.bits;
    const choices = layout.kind === "string" ? layout.symbols : 2;
    const fits = (item) => item.length === size && [...item].every((digit) => /^\d$/.test(digit) && Number(digit) < choices);
    if (!text || items.length > MOST_LENGTH || !items.every(fits)) return null;
    const numbers = items.map((item) => [...item].map(Number));
    return EPISODES.valid(layout, numbers) ? numbers : null;
  }

  function restoreChange([time, head, name, value]) {
    const heads_ = ntm ? network.memory.reads + network.memory.writes : 0, number = Number(value);
    const range = { gate: [0, 1], strength: [0, 1000], shift: [-(network?.memory?.max_shift ?? 0), network?.memory?.max_shift ?? 0] }[name];
    if (!/^\d{1,4}$/.test(time) || !/^\d{1,3}$/.test(head ?? "") || Number(head) >= heads_ || !range || !Number.isFinite(number)) return;
    const ofStep = state.changes.get(Number(time)) ?? new Map(), ofHead = ofStep.get(Number(head)) ?? {};
    ofHead[name] = Math.min(range[1], Math.max(range[0], number));
    ofStep.set(Number(head), ofHead);
    state.changes.set(Number(time), ofStep);
  }

  // Controls ---------------------------------------------------------------------------------------------------------------

  let lengths = null, repeats = null, choice = null, trained = null;

  /** Return the slider through the steps of the training. */
  function trainingSlider() {
    const input = element("input", { type: "range", id: "training", min: 0, max: training.length - 1 }), output = element("output");
    input.addEventListener("input", () => { train(Number(input.value)); follow(); soon(); });
    trained = () => { input.value = state.trained; output.textContent = training[state.trained].name; };
    return element("label", {}, "training ", input, " ", output);
  }

  function controls() {
    const box = $("episode");
    if (layout) {
      const fresh = element("button", { type: "button", id: "random" }, "Random");
      fresh.addEventListener("click", () => {
        const length = state.items ? state.items.length / layout.group : layout.start;
        Object.assign(state, { items: EPISODES.random(layout, length), time: 0 });
        state.changes.clear();
        state.edits.clear();
        rerun();
        follow();
      });
      lengths = slider(layout.names[0], { min: layout.least, max: layout.most, step: layout.step, value: layout.start }, (length) => {
        state.items ??= [];
        resized(length);
        follow();
      });
      box.append(fresh, lengths.label);
      if (layout.most_repeats > 1) {
        repeats = slider(layout.names[1], { min: 1, max: layout.most_repeats, value: layout.repeats }, (count) => {
          state.items ??= EPISODES.random(layout, layout.start);
          state.repeats = layout.kind === "recall" ? Math.min(count, state.items.length / layout.group - 1) : count;
          state.changes.clear();
          rerun();
          follow();
        });
        box.append(repeats.label);
      }
    }
    choice = element("select", { id: "sample" });
    if (layout) choice.append(element("option", { value: "own" }, "your own"));
    samples.forEach(({ label }, i) => choice.append(element("option", { value: i }, label)));
    choice.addEventListener("change", () => {
      state.edits.clear();
      state.changes.clear();
      Object.assign(state, choice.value === "own" ? { items: EPISODES.random(layout, layout.start) } : { items: null, sample: Number(choice.value) }, { time: 0 });
      rerun();
      follow();
    });
    box.append(element("label", {}, "episode ", choice));
    if (training) box.append(trainingSlider());
  }

  /** Set the controls to the state. */
  function follow() {
    const { length, repeats: count } = own() ? { length: state.items.length / layout.group, repeats: state.repeats }
      : layout ? EPISODES.presented(layout, samples[state.sample].arrays) : {};
    lengths?.set(length);
    repeats?.set(count);
    trained?.();
    choice.value = state.items ? "own" : state.sample;
  }

  /** Compare the network with what PyTorch computed for the first episode. */
  function check() {
    if (!network) return;
    const { inputs, logits } = samples[0].arrays;
    if (!logits) return; // beside a network with recorded steps, whose episodes these are
    const mine = NETWORK.run(network, inputs).logits.data;
    const most = mine.reduce((largest, value, i) => Math.max(largest, Math.abs(value - logits.data[i])), 0);
    const scale = logits.data.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1), fits = most <= 1e-4 * scale;
    $("check").classList.toggle("warning", !fits);
    $("check").append(fits ? ` Its outputs were compared with those of PyTorch when the page was opened: the largest difference of a logit is ${most.toExponential(0)}.`
      : ` Its outputs differ from those of PyTorch by up to ${most.toPrecision(2)}: do not rely on them.`);
  }

  function keys(event) {
    const tag = event.target.tagName;
    if (event.altKey || event.ctrlKey || event.metaKey || tag === "SELECT" || (tag === "INPUT" && event.target.id !== "time")) return;
    const last = episode.inputs.shape[0] - 1;
    const to = { ArrowLeft: state.time - 1, ArrowRight: state.time + 1, Home: 0, End: last }[event.key];
    if (to !== undefined) go(to);
    else if (event.key === " " && tag !== "BUTTON") play(!state.playing);
    else return;
    event.preventDefault();
  }

  function listen() {
    $("play").addEventListener("click", () => play(!state.playing));
    $("back").addEventListener("click", () => go(state.time - 1));
    $("forward").addEventListener("click", () => go(state.time + 1));
    $("time").addEventListener("input", () => go(Number($("time").value)));
    document.addEventListener("keydown", keys);
    if (data.paired) window.addEventListener("message", receive);
    window.addEventListener("resize", draw);
    window.addEventListener("hashchange", () => {
      if (location.hash === written) return;
      restore(location.hash.slice(1));
      rerun();
      follow();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { DRAWING.readColors(); show(); });
  }

  DRAWING.readColors();
  controls();
  check();
  restore(location.hash.slice(1));
  listen();
  rerun();
  follow();
})();
