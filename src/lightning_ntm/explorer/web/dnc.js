"use strict";
/* The memory of a DNC, one step at a time, in double precision: freeing, writing, links, reading. Names are those of
`DNCMemory.observe` of the package. */
const DNC = (() => {
  const EPSILON = 1e-12, TIE = 1e-6, LEAST_LINK = 1e-6;
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const softplus = (x) => (x > 20 ? x : Math.log1p(Math.exp(x)));

  function softmax(x) {
    const most = x.reduce((largest, value) => Math.max(largest, value), -Infinity);
    const powers = x.map((value) => Math.exp(value - most)), sum = powers.reduce((total, value) => total + value, 0);
    return powers.map((value) => value / sum);
  }

  /** Return the sizes and activations of the parts of an interface vector, in their order. */
  function layout({ reads, width, masking, sharpening, mask_floor: floor }) {
    const positive = (x) => 1 + softplus(x), mask = (x) => floor + (1 - floor) * sigmoid(x);
    return [
      ["read_key", reads * width], ["write_key", width], ["add", width],
      ["erase", width, sigmoid], ["free_gates", reads, sigmoid], ["allocation_gate", 1, sigmoid], ["write_gate", 1, sigmoid],
      ...(masking ? [["read_mask", reads * width, mask], ["write_mask", width, mask]] : []),
      ["read_strength", reads, positive], ["write_strength", 1, positive],
      ...(sharpening ? [["forward_sharpness", reads, positive], ["backward_sharpness", reads, positive]] : []),
      ["read_modes", 3 * reads],
    ];
  }

  function interpreted(memory, x) {
    const said = {};
    let at = 0;
    for (const [name, size, activation] of layout(memory)) {
      const part = x.subarray(at, at + size);
      said[name] = activation ? part.map(activation) : Float64Array.from(part);
      at += size;
    }
    for (let head = 0; head < memory.reads; head++) said.read_modes.set(softmax(said.read_modes.slice(3 * head, 3 * head + 3)), 3 * head);
    return said;
  }

  /** Return the weighting by content of one head, with a mask or without. */
  function contentWeights(cells, slots, width, key, strength, mask) {
    let square = EPSILON;
    const scores = new Float64Array(slots), share = (i) => (mask ? mask[i] : 1);
    for (let i = 0; i < width; i++) square += (key[i] * share(i)) ** 2;
    for (let slot = 0; slot < slots; slot++) {
      let product = 0, own = EPSILON;
      for (let i = 0, at = slot * width; i < width; i++, at++) {
        product += key[i] * share(i) ** 2 * cells[at];
        own += (share(i) * cells[at]) ** 2;
      }
      scores[slot] = strength * product / Math.sqrt(square * own);
    }
    return softmax(scores);
  }

  /** Return the weighting of unused slots: the least used has what it has free, the next a share of the rest. */
  function allocationWeights(usage) {
    const order = Array.from(usage.keys()).sort((a, b) => usage[a] + TIE * a - usage[b] - TIE * b || a - b);
    const weights = new Float64Array(usage.length);
    let rest = 1;
    for (const slot of order) { weights[slot] = (1 - usage[slot]) * rest; rest *= usage[slot]; }
    return weights;
  }

  /** Write; the link matrix takes the precedence of the step before. */
  function write({ slots, width, reads, deallocation }, said, state) {
    const retention = new Float64Array(slots).fill(1);
    for (let head = 0; head < reads; head++) {
      for (let slot = 0; slot < slots; slot++) retention[slot] *= 1 - said.free_gates[head] * state.read_weights[head * slots + slot];
    }
    const usage = state.usage.map((used, slot) => (used + (1 - used) * state.write_weights[slot]) * retention[slot]);
    const allocation = allocationWeights(usage);
    const content = contentWeights(state.memory, slots, width, said.write_key, said.write_strength[0], said.write_mask);
    const gate = said.allocation_gate[0];
    const weights = content.map((weight, slot) => said.write_gate[0] * (weight + gate * (allocation[slot] - weight)));
    for (let slot = 0; slot < slots; slot++) {
      const kept = deallocation ? retention[slot] : 1;
      for (let i = 0, at = slot * width; i < width; i++, at++) {
        state.memory[at] = state.memory[at] * kept * (1 - weights[slot] * said.erase[i]) + weights[slot] * said.add[i];
      }
    }
    link(state.link, weights, state.precedence);
    const written = weights.reduce((sum, weight) => sum + weight, 0);
    state.precedence = state.precedence.map((weight, slot) => (1 - written) * weight + weights[slot]);
    Object.assign(state, { usage, write_weights: weights });
    return { retention, allocation_weights: allocation, write_content_weights: content };
  }

  /** Update the link matrix: row i, column j says how far slot i was written right after slot j. */
  function link(links, weights, precedence) {
    const slots = weights.length;
    for (let to = 0, at = 0; to < slots; to++) {
      for (let from = 0; from < slots; from++, at++) {
        links[at] = to === from ? 0 : (1 - weights[to] - weights[from]) * links[at] + weights[to] * precedence[from];
      }
    }
  }

  function sharpened(weights, sharpness) {
    const most = Math.max(LEAST_LINK, ...weights);
    const powers = weights.map((weight) => weight / most * Math.exp((sharpness - 1) * Math.log(weight / most + EPSILON)));
    const sum = Math.max(1, powers.reduce((total, value) => total + value, 0));
    return powers.map((value) => value / sum);
  }

  /** Read the memory as it was just written; links start from the reads of the step before. */
  function read({ slots, width, reads, sharpening }, said, state) {
    const seen = Object.fromEntries(["content", "forward", "backward"].map((name) => [`${name}_weights`, new Float64Array(reads * slots)]));
    const before = state.read_weights;
    state.read_weights = new Float64Array(reads * slots);
    state.reads = new Float64Array(reads * width);
    for (let head = 0; head < reads; head++) {
      const own = (array, size) => array?.subarray(head * size, (head + 1) * size), previous = own(before, slots);
      const content = contentWeights(state.memory, slots, width, own(said.read_key, width), said.read_strength[head], own(said.read_mask, width));
      let forward = new Float64Array(slots), backward = new Float64Array(slots);
      for (let i = 0, at = 0; i < slots; i++) {
        for (let j = 0; j < slots; j++, at++) {
          forward[i] += state.link[at] * previous[j];
          backward[j] += state.link[at] * previous[i];
        }
      }
      if (sharpening) {
        forward = sharpened(forward, said.forward_sharpness[head]);
        backward = sharpened(backward, said.backward_sharpness[head]);
      }
      const [back, by, on] = own(said.read_modes, 3);
      for (let slot = 0; slot < slots; slot++) {
        const weight = back * backward[slot] + by * content[slot] + on * forward[slot];
        state.read_weights[head * slots + slot] = weight;
        for (let i = 0; i < width; i++) state.reads[head * width + i] += weight * state.memory[slot * width + i];
      }
      seen.content_weights.set(content, head * slots);
      seen.forward_weights.set(forward, head * slots);
      seen.backward_weights.set(backward, head * slots);
    }
    return seen;
  }

  /** Run one step of the memory; `state` is changed. */
  function access(memory, interfaceVector, state) {
    const said = interpreted(memory, interfaceVector), writing = write(memory, said, state);
    return { ...said, ...writing, ...read(memory, said, state) };
  }

  function start({ slots, width, reads }) {
    const zeros = (size) => new Float64Array(size);
    return {
      memory: zeros(slots * width), usage: zeros(slots), precedence: zeros(slots), link: zeros(slots * slots),
      write_weights: zeros(slots), read_weights: zeros(reads * slots), reads: zeros(reads * width),
    };
  }

  /** Return the shapes of what is seen in a step; heads come first. */
  function shapes(memory) {
    const { slots, width, reads } = memory, found = {};
    for (const [name, size] of layout(memory)) {
      const heads = name.startsWith("write") || ["add", "erase", "allocation_gate"].includes(name) ? 1 : reads;
      found[name] = size === heads ? [heads] : [heads, size / heads];
    }
    const ofSlots = ["usage", "precedence", "retention", "allocation_weights", "write_content_weights"];
    const ofReads = ["read_weights", "content_weights", "forward_weights", "backward_weights"];
    for (const name of ofSlots) found[name] = [slots];
    for (const name of ofReads) found[name] = [reads, slots];
    return { ...found, write_weights: [1, slots], memory: [slots, width], link: [slots, slots], reads: [reads, width] };
  }

  return { access, start, shapes };
})();
if (typeof module !== "undefined") module.exports = DNC;
