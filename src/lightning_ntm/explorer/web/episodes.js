"use strict";
/* Episodes: what is shown to a network, what it should answer, and which of its answers are wrong.

An episode is {inputs, targets, mask}, each {shape: [time, ...], data}; targets and mask are null where the answer is not
known. Of tasks with a layout, episodes are made of the items that are presented: vectors of bits, or symbols. */
const EPISODES = (() => {
  const zeros = (...shape) => ({ shape, data: new Float32Array(shape.reduce((product, axis) => product * axis, 1)) });
  const put = (array, time, channel, value) => { array.data[time * (array.shape[1] ?? 1) + channel] = value; };

  /** Return an episode of copy or repeat copy. */
  function ofVectors({ bits, inputs, outputs, delimiter, number, end }, items, repeats) {
    const length = items.length, unary = number?.form === "unary";
    const begins = length + 1 + (number ? (unary ? repeats : 1) : 0), answers = length * repeats;
    const time = begins + answers + (end === null ? 0 : 1);
    const episode = { inputs: zeros(time, inputs), targets: zeros(time, outputs), mask: zeros(time) };
    items.forEach((item, t) => item.forEach((bit, channel) => put(episode.inputs, t, channel, bit)));
    put(episode.inputs, length, delimiter, 1);
    if (number) {
      const shown = unary ? 1 : (repeats - number.mean) / number.deviation;
      for (let t = length + 1; t < begins; t++) put(episode.inputs, t, number.channel, shown);
    }
    for (let t = begins; t < time; t++) {
      put(episode.mask, t, 0, 1);
      if (t - begins < answers) {
        items[(t - begins) % length].forEach((bit, channel) => put(episode.targets, t, channel, bit));
      } else put(episode.targets, t, end, 1);
    }
    return episode;
  }

  const rest = (value, modulus) => ((value % modulus) + modulus) % modulus;
  const total = (string) => string.reduce((sum, symbol) => sum + symbol, 0);

  /** What tasks on strings ask for, by the name of the answer: the symbols of the answer to a string. */
  const ANSWERS = {
    reverse: (string) => [...string].reverse(),
    duplicate: (string) => [...string, ...string],
    pairs: (string) => [string.filter((symbol, i) => i && symbol !== string[i - 1]).length % 2],
    parity: (string) => [total(string) % 2],
    cycle: (string) => [rest(total(string) - string.length, 5)],
    odds: (string) => [1, 0].flatMap((odd) => string.filter((_, i) => i % 2 === odd)),
    sorted: (string) => [...string].sort((a, b) => a - b),
    arithmetic(string) {
      let sum = 0, sign = 1, term = string[0];
      for (let i = 1; i < string.length; i += 2) {
        if (string[i] === TIMES) term = (term * string[i + 1]) % 5;
        else [sum, sign, term] = [sum + sign * term, string[i] === MINUS ? -1 : 1, string[i + 1]];
      }
      return [rest(sum + sign * term, 5)];
    },
    stack(string) {
      const stack = [];
      for (const symbol of string) if (symbol === POP) stack.pop(); else stack.push(symbol < PUSH ? symbol : symbol - PUSH);
      const answers = [...stack.reverse(), POP]; // the symbol that ends an answer has the same number
      return Array.from({ length: string.length + 1 }, (_, i) => answers[i] ?? 0);
    },
  };
  const PLUS = 5, MINUS = 6, TIMES = 7, POP = 2, PUSH = 3;
  const between = (low, high) => Array.from({ length: high - low }, (_, i) => low + i);

  /** Return the symbols that a string may have in a place, of which those before are given. */
  function allowed({ symbols, answer }, before) {
    if (answer === "arithmetic") return before.length % 2 ? between(PLUS, TIMES + 1) : between(0, PLUS);
    if (answer !== "stack") return between(0, symbols);
    return before.length === 0 ? [0, 1] : before.some((symbol) => symbol >= POP) ? between(POP, symbols) : between(0, symbols);
  }

  /** Whether a task has a string of these symbols. */
  function valid(layout, items) {
    const string = items.map(([symbol]) => symbol);
    if (layout.kind === "recall") return items.length % layout.group === 0 && items.length >= layout.least * layout.group;
    if (layout.kind !== "string") return true;
    return (string.length - 1) % layout.step === 0 && string.every((symbol, i) => allowed(layout, string.slice(0, i)).includes(symbol));
  }

  /** Return an episode of a task on strings. */
  function ofString({ symbols, outputs, answer }, items) {
    const string = items.map(([symbol]) => symbol), answers = ANSWERS[answer](string);
    const time = string.length + answers.length;
    const episode = { inputs: zeros(time, symbols + 1), targets: zeros(time, outputs), mask: zeros(time) };
    for (let t = 0; t < time; t++) put(episode.inputs, t, string[t] ?? symbols, 1);
    answers.forEach((symbol, i) => {
      put(episode.targets, string.length + i, symbol, 1);
      put(episode.mask, string.length + i, 0, 1);
    });
    return episode;
  }

  /** Return an episode of associative recall; items are of `group` vectors, and the item of this number is asked for. */
  function ofRecall({ bits, group, inputs }, items, number) {
    const count = items.length / group, asked = Math.min(number, count - 1), time = (count + 2) * (group + 1);
    const episode = { inputs: zeros(time, inputs), targets: zeros(time, bits), mask: zeros(time) };
    const show = (array, place, item) => items.slice(item * group, (item + 1) * group).forEach((vector, i) =>
      vector.forEach((bit, channel) => put(array, place * (group + 1) + 1 + i, channel, bit)));
    for (let item = 0; item < count + 2; item++) put(episode.inputs, item * (group + 1), item < count ? bits : bits + 1, 1);
    for (let item = 0; item < count; item++) show(episode.inputs, item, item);
    show(episode.inputs, count, asked - 1);
    show(episode.targets, count + 1, asked);
    for (let i = 1; i <= group; i++) put(episode.mask, (count + 1) * (group + 1) + i, 0, 1);
    return episode;
  }

  const MAKERS = { string: ofString, vectors: ofVectors, recall: ofRecall };

  /** Return the episode of a layout in which these items are presented.
   *  @param number the repeats, or the number of the item that is asked for */
  const made = (layout, items, number = 1) => MAKERS[layout.kind](layout, items, number);

  /** Return the place among the items of what is presented in a step, or -1. */
  function placeAt({ kind, group }, items, time) {
    if (kind !== "recall") return time < items.length ? time : -1;
    const item = Math.floor(time / (group + 1)), place = time % (group + 1);
    return place && item < items.length / group ? item * group + place - 1 : -1;
  }

  /** Return how many items an episode presents, before the delimiter or the first empty symbol, and how often they are
   *  asked for. */
  function presented(layout, { inputs: { shape: [time, size], data }, mask }) {
    if (layout.kind === "recall") return recalled(layout, time, size, data);
    const channel = layout.kind === "string" ? layout.symbols : layout.delimiter;
    let length = 0;
    while (length < time && data[length * size + channel] !== 1) length++;
    if (layout.most_repeats === 1) return { length, repeats: 1 };
    const asked = (mask ? mask.data.reduce((sum, one) => sum + one, 0) : 0) - (Number.isInteger(layout.end) ? 1 : 0);
    return { length, repeats: Math.max(1, Math.floor(asked / Math.max(1, length))) };
  }

  /** Return how many items an episode of associative recall presents, and which one is asked for. */
  function recalled({ bits, group }, time, size, data) {
    const length = time / (group + 1) - 2;
    const item = (number) => [...data.subarray((number * (group + 1) + 1) * size, (number + 1) * (group + 1) * size)].join();
    const asked = Array.from({ length }, (_, number) => item(number)).indexOf(item(length));
    return { length, repeats: asked + 1 };
  }

  /** Return random items that begin with given ones: vectors of bits, or the single symbols of a string. */
  function random(layout, length, given = [], draw = Math.random) {
    length *= layout.group;
    const among = (choices) => choices[Math.floor(draw() * choices.length)], items = given.slice(0, length);
    const bits = 1 + Math.floor(draw() * (Math.max(length, 2) - 1)); // of a stack, before the actions
    while (items.length < length) {
      if (layout.kind !== "string") items.push(Array.from({ length: layout.bits }, () => among([0, 1])));
      else {
        const choices = allowed(layout, items.map(([symbol]) => symbol));
        const begins = choices.filter((symbol) => symbol >= POP === items.length >= bits);
        items.push([among(layout.answer === "stack" && begins.length ? begins : choices)]);
      }
    }
    return items;
  }

  /** Return what a picture shows of logits, as `Answer.shown`: probabilities, or the numbers themselves. */
  function shown(answer, { shape, data }) {
    const [time, size] = shape, result = new Float64Array(data.length);
    for (let t = 0; t < time; t++) {
      const logits = data.subarray(t * size, (t + 1) * size);
      if (answer.kind === "symbols") result.set(NUMBERS.softmax(logits), t * size);
      else result.set(answer.kind === "bits" ? logits.map(NUMBERS.sigmoid) : logits, t * size);
    }
    return { shape, data: result };
  }

  /** Return the wrong cells of outputs as [time, row], how many answers there are, and the steps after the end symbol. */
  function errors(answer, outputs, { targets, mask }) {
    const [time, size] = outputs.shape, wrong = [], padding = new Set();
    let asked = 0, ended = false;
    for (let t = 0; targets && t < time; t++) {
      if (!mask.data[t]) continue;
      if (ended) { padding.add(t); continue; }
      const at = t * size, own = outputs.data.subarray(at, at + size), right = targets.data.subarray(at, at + size);
      if (answer.kind === "symbols") {
        const most = own.indexOf(Math.max(...own));
        asked += 1;
        ended = answer.end !== null && right[answer.end] === 1;
        if (!(right[most] > 0)) wrong.push([t, most]);
        continue;
      }
      asked += size;
      for (let row = 0; row < size; row++) {
        const fits = answer.kind === "bits" ? (own[row] > 0.5) === (right[row] > 0.5)
          : Math.abs(own[row] - right[row]) <= answer.tolerance;
        if (!fits) wrong.push([t, row]);
      }
    }
    return { wrong, asked, padding };
  }

  const NUMBERS = typeof module === "undefined" ? NETWORK : require("./network.js");
  return { made, placeAt, presented, random, valid, shown, errors, zeros };
})();
if (typeof module !== "undefined") module.exports = EPISODES;
