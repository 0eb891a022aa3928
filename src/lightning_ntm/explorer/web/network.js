"use strict";
/* The mathematics of networks, one sequence at a time, in double precision.

`run(network, inputs, changes)` returns what `MemoryModel.trace` of the package returns, by the same names:
{name: {shape: [time, ...], data}}. A head may be changed in a step: `changes.get(time)` is a map from the number of a
head to {gate, strength, shift}, each of which replaces what the head emits. */
const NETWORK = (() => {
  const EPSILON = 1e-12, HEAD_LIMIT = 20, START = Math.fround(1e-6);

  /** Return the number of 16 bits of float16. */
  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  }

  /** Return the numbers of {shape, type, data}, where data is base64 of float32 ("f4"), float16 ("f2") or bytes ("u1"). */
  function unpacked({ shape, type, data }) {
    const text = atob(data), bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    if (type === "f2") return { shape, data: Float32Array.from(new Uint16Array(bytes.buffer), half) };
    return { shape, data: type === "u1" ? Float32Array.from(bytes) : new Float32Array(bytes.buffer) };
  }

  /** Return a network with its tensors as arrays. */
  function opened(description) {
    const tensors = {};
    for (const [name, packed] of Object.entries(description.tensors)) tensors[name] = unpacked(packed);
    return { ...description, tensors };
  }

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const softplus = (x) => (x > 20 ? x : Math.log1p(Math.exp(x)));

  function softmax(x) {
    let most = -Infinity, sum = 0;
    for (const value of x) most = Math.max(most, value);
    const result = new Float64Array(x.length);
    for (let i = 0; i < x.length; i++) sum += result[i] = Math.exp(x[i] - most);
    for (let i = 0; i < x.length; i++) result[i] /= sum;
    return result;
  }

  function linear(tensors, name, x) {
    const { shape: [rows, columns], data } = tensors[`${name}.weight`], bias = tensors[`${name}.bias`].data;
    const result = new Float64Array(rows);
    for (let row = 0; row < rows; row++) {
      let sum = bias[row];
      for (let i = 0, at = row * columns; i < columns; i++, at++) sum += data[at] * x[i];
      result[row] = sum;
    }
    return result;
  }

  function joined(...parts) {
    const result = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) { result.set(part, at); at += part.length; }
    return result;
  }

  /** Each runs one step of one layer of recurrent units; `hidden` and `cell` are those of the layer, and are changed. */
  const UNITS = {
    rnn(tensors, layer, below, hidden) {
      hidden.set(linear(tensors, `controller.layers.${layer}`, joined(below, hidden)).map(Math.tanh));
    },
    gru(tensors, layer, below, hidden) {
      const size = hidden.length;
      const own = linear(tensors, `controller.layers.${layer}`, below), last = linear(tensors, `controller.recurrent.${layer}`, hidden);
      for (let i = 0; i < size; i++) {
        const reset = sigmoid(own[i] + last[i]), update = sigmoid(own[size + i] + last[size + i]);
        const candidate = Math.tanh(own[2 * size + i] + reset * last[2 * size + i]);
        hidden[i] = candidate + update * (hidden[i] - candidate);
      }
    },
    lstm(tensors, layer, below, hidden, cell) {
      const size = hidden.length, gates = linear(tensors, `controller.layers.${layer}`, joined(below, hidden));
      for (let i = 0; i < size; i++) {
        const candidate = Math.tanh(gates[2 * size + i]);
        cell[i] = sigmoid(gates[i]) * candidate + sigmoid(gates[size + i]) * cell[i];
        hidden[i] = sigmoid(gates[3 * size + i]) * Math.tanh(cell[i]);
      }
    },
  };

  /** Run one step of recurrent layers; `hidden` and `cell` are changed. */
  function recurrent(network, x, { hidden, cell }) {
    const size = network.hidden_size, outputs = [];
    let below = x;
    for (let layer = 0; layer < network.num_layers; layer++) {
      const [own, ownCell] = [hidden, cell].map((of) => of?.subarray(layer * size, (layer + 1) * size));
      UNITS[network.units](network.tensors, layer, below, own, ownCell);
      outputs.push(own);
      below = network.skip ? joined(x, own) : own;
    }
    return network.skip ? joined(...outputs) : Float64Array.from(outputs.at(-1));
  }

  function feedForward(network, x) {
    for (let layer = 0; layer < network.num_layers; layer++) {
      x = linear(network.tensors, `controller.layers.${layer}`, x).map(Math.tanh);
    }
    return x;
  }

  /** Return the parameters of all heads from an interface vector; those of a head are side by side. */
  function headParameters(network, x) {
    const { reads, writes, width, max_shift, min_sharpening } = network.memory;
    const heads = reads + writes, written = writes * width, shifts = 2 * max_shift + 1;
    let at = 0;
    const next = (count, activation) => {
      const part = x.subarray(at, at + count);
      at += count;
      return activation ? part.map(activation) : part;
    };
    x = x.map((value) => Math.min(HEAD_LIMIT, Math.max(-HEAD_LIMIT, value)));
    const key = next(heads * width, Math.tanh), add = next(written, Math.tanh);
    const gate = next(heads, sigmoid), erase = next(written, sigmoid);
    const strength = next(heads, softplus), sharpening = next(heads, (value) => min_sharpening + softplus(value));
    const shift = joined(...Array.from({ length: heads }, () => softmax(next(shifts))));
    return { key, strength, gate, shift, sharpening, erase, add };
  }

  /** Replace what a head emits. A shift that is not whole is shared between its neighbours. */
  function change(network, heads, changes) {
    const most = network.memory.max_shift, shifts = 2 * most + 1;
    for (const [head, { gate, strength, shift }] of changes ?? []) {
      if (gate !== undefined) heads.gate[head] = gate;
      if (strength !== undefined) heads.strength[head] = strength;
      if (shift !== undefined) {
        for (let i = 0; i < shifts; i++) heads.shift[head * shifts + i] = Math.max(0, 1 - Math.abs(i - most - shift));
      }
    }
  }

  /** Return the weighting by content of one head, equations 5 and 6. */
  function contentWeights(memory, slots, width, key, strength) {
    let square = EPSILON;
    for (const value of key) square += value * value;
    const norm = Math.sqrt(square), scores = new Float64Array(slots);
    for (let slot = 0; slot < slots; slot++) {
      let product = 0, own = EPSILON;
      for (let i = 0, at = slot * width; i < width; i++, at++) {
        product += key[i] * memory[at];
        own += memory[at] * memory[at];
      }
      scores[slot] = strength * product / (norm * Math.sqrt(own));
    }
    return softmax(scores);
  }

  /** Return the next weighting of one head: interpolation, shift, sharpening, equations 7 to 9. */
  function locationWeights(previous, content, gate, shift, sharpening) {
    const slots = previous.length, most = (shift.length - 1) / 2, logarithms = new Float64Array(slots);
    const between = previous.map((weight, slot) => weight + gate * (content[slot] - weight));
    for (let slot = 0; slot < slots; slot++) {
      let sum = 0;
      for (let i = 0; i < shift.length; i++) sum += shift[i] * between[(slot - (i - most) + slots) % slots];
      logarithms[slot] = sharpening * Math.log(sum + EPSILON);
    }
    return softmax(logarithms);
  }

  /** Run one step of memory and heads; `state` is changed. */
  function access(network, interfaceVector, state, changes) {
    const { reads, writes, width, slots, max_shift } = network.memory, shifts = 2 * max_shift + 1;
    const heads = headParameters(network, interfaceVector), content = [], weights = [];
    change(network, heads, changes);
    for (let head = 0; head < reads + writes; head++) {
      const key = heads.key.subarray(head * width, (head + 1) * width);
      const previous = state.weights.subarray(head * slots, (head + 1) * slots);
      const shift = heads.shift.subarray(head * shifts, (head + 1) * shifts);
      content.push(contentWeights(state.memory, slots, width, key, heads.strength[head]));
      weights.push(locationWeights(previous, content[head], heads.gate[head], shift, heads.sharpening[head]));
    }
    state.weights = joined(...weights);
    state.reads = new Float64Array(reads * width);
    for (let head = 0; head < reads; head++) {
      for (let slot = 0; slot < slots; slot++) {
        const weight = weights[head][slot];
        for (let i = 0; i < width; i++) state.reads[head * width + i] += weight * state.memory[slot * width + i];
      }
    }
    write(state.memory, weights.slice(reads), heads, slots, width);
    return { ...heads, content_weights: joined(...content) };
  }

  /** All heads erase, then all heads add, equations 3 and 4. */
  function write(memory, weights, { erase, add }, slots, width) {
    for (let slot = 0; slot < slots; slot++) {
      for (let i = 0; i < width; i++) {
        let value = memory[slot * width + i], added = 0;
        weights.forEach((weighting, head) => {
          value *= 1 - weighting[slot] * erase[head * width + i];
          added += weighting[slot] * add[head * width + i];
        });
        memory[slot * width + i] = value + added;
      }
    }
  }

  function start(network) {
    const { tensors, memory } = network, state = {}, of = (name) => Float64Array.from(tensors[name].data);
    const layers = (name) => (tensors[name] ? of(name) : new Float64Array(network.num_layers * network.hidden_size));
    if (network.units in UNITS) state.hidden = layers("start_hidden");
    if (network.units === "lstm") state.cell = layers("start_cell");
    if (!memory) return state;
    if (memory.kind in MEMORIES) return Object.assign(state, MEMORIES[memory.kind].start(memory));
    const { slots, width, reads, writes } = memory, heads = reads + writes;
    state.reads = of("start_reads");
    state.memory = tensors.start_memory ? of("start_memory") : new Float64Array(slots * width).fill(START);
    state.weights = tensors.start_heads ? of("start_heads") : new Float64Array(heads * slots);
    for (let head = 0; head < heads; head++) {
      const own = state.weights.subarray(head * slots, (head + 1) * slots);
      if (tensors.start_heads) own.set(softmax(own));
      else own[0] = 1;
    }
    return state;
  }

  function shapes(network) {
    const { hidden_size, num_layers, memory, units } = network, found = { logits: [network.output_size] };
    if (units in UNITS) found.hidden = [num_layers, hidden_size];
    if (units === "lstm") found.cell = [num_layers, hidden_size];
    if (!memory) return found;
    if (memory.kind in MEMORIES) return Object.assign(found, MEMORIES[memory.kind].shapes(memory));
    const { slots, width, reads, writes, max_shift } = memory, heads = reads + writes;
    Object.assign(found, {
      key: [heads, width], strength: [heads], gate: [heads], shift: [heads, 2 * max_shift + 1], sharpening: [heads],
      erase: [writes, width], add: [writes, width], content_weights: [heads, slots],
      memory: [slots, width], weights: [heads, slots], reads: [reads, width],
    });
    return found;
  }

  const ofCells = ({ kind }) => kind === "stacks" || kind === "tapes";

  /** Return what the heads of stacks and tapes emit: actions, then what is pushed or written. */
  function commands({ tensors }, x) {
    const said = linear(tensors, "heads", x);
    if (!tensors["writer.0.weight"]) return said;
    for (let layer = 0; layer < 3; layer++) x = linear(tensors, `writer.${layer}`, layer ? x.map((value) => Math.max(0, value)) : x);
    return joined(said, x);
  }

  /** Return the steps before the first one whose last input is not 0. */
  function lengthOf({ shape: [time, size], data }) {
    let length = 0;
    while (length < time && data[(length + 1) * size - 1] === 0) length++;
    return length;
  }

  /** Run one step of memory and heads, and return what the output layer sees and what happened; `state` is changed. */
  function remember(network, x, state, changes, length) {
    const { memory, tensors } = network;
    if (ofCells(memory)) return [x, MEMORIES[memory.kind].access(memory, commands(network, x), state, length, softmax)];
    const said = linear(tensors, "heads", x), other = MEMORIES[memory.kind];
    const heads = other ? other.access(memory, said, state) : access(network, said, state, changes);
    return [joined(x, state.reads), heads];
  }

  /** Run a sequence; `inputs` are {shape: [time, inputs], data}. */
  function run(network, inputs, changes = new Map()) {
    const [time, size] = inputs.shape, state = start(network), trace = {}, sizes = {};
    for (const [name, shape] of Object.entries(shapes(network))) {
      sizes[name] = shape.reduce((product, axis) => product * axis, 1);
      trace[name] = { shape: [time, ...shape], data: new Float64Array(time * sizes[name]) };
    }
    const length = lengthOf(inputs);
    for (let t = 0; t < time; t++) {
      let x = Float64Array.from(inputs.data.subarray(t * size, (t + 1) * size)), heads = {};
      if (network.memory) x = joined(x, state.reads);
      x = network.units in UNITS ? recurrent(network, x, state) : feedForward(network, x);
      if (network.memory) [x, heads] = remember(network, x, state, changes.get(t), length);
      const seen = { ...state, ...heads, logits: linear(network.tensors, "output", x) };
      for (const name in sizes) trace[name].data.set(seen[name], t * sizes[name]);
    }
    return trace;
  }

  const [dnc, cells, sparse] = typeof module === "undefined" ? [DNC, CELLS, SPARSE] : ["dnc", "cells", "sparse"].map((name) => require(`./${name}.js`));
  const MEMORIES = { dnc, sparse, stacks: cells, tapes: cells };
  return { unpacked, opened, run, softmax, sigmoid };
})();
if (typeof module !== "undefined") module.exports = NETWORK;
