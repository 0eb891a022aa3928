"use strict";
/* Pictures on canvases: arrays as colours. A picture is painted once for a run of the network, cell by cell into an image
of its own; moving through time only copies that image and draws the mark of the step. */
const DRAWING = (() => {
  const STEPS = 255;
  let tables = {}, colors = {};

  const rgb = (text) => text.match(/[0-9a-f]{2}/gi).map((pair) => parseInt(pair, 16));

  function table(stops) {
    const bytes = new Uint8ClampedArray((STEPS + 1) * 3);
    for (let i = 0; i <= STEPS; i++) {
      const place = (i / STEPS) * (stops.length - 1), at = Math.min(stops.length - 2, Math.floor(place));
      for (let c = 0; c < 3; c++) bytes[3 * i + c] = stops[at][c] + (place - at) * (stops[at + 1][c] - stops[at][c]);
    }
    return bytes;
  }

  /** Read the colours of the style sheet, which differ between light and dark. */
  function readColors() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(`--${name}`).trim();
    colors = Object.fromEntries(["paper", "ink", "soft", "line", "wash", "accent", "alarm", "write", "read"].map((n) => [n, of(n)]));
    const [zero, high, most, low] = ["zero", "high", "most", "low"].map((name) => rgb(of(name)));
    tables = { weight: table([zero, high, most]), signed: table([low, zero, high]) };
  }

  /** Return an image of `columns` by `rows` cells; `value(column, row)` is within 0 and 1, or -1 and 1 if signed. */
  function image(columns, rows, value, kind = "weight") {
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, columns);
    canvas.height = Math.max(1, rows);
    const context = canvas.getContext("2d"), cells = context.createImageData(canvas.width, canvas.height);
    const bytes = tables[kind];
    for (let row = 0, at = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, at += 4) {
        let share = value(column, row);
        if (kind === "signed") share = (share + 1) / 2;
        const from = 3 * Math.round(STEPS * Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0)));
        cells.data[at] = bytes[from];
        cells.data[at + 1] = bytes[from + 1];
        cells.data[at + 2] = bytes[from + 2];
        cells.data[at + 3] = 255;
      }
    }
    context.putImageData(cells, 0, 0);
    return canvas;
  }

  /** Give a canvas the size of its box in points of the screen, and return its context in units of the page. */
  function fitted(canvas, height) {
    const width = canvas.clientWidth || 1, ratio = window.devicePixelRatio || 1;
    const size = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) {
      [canvas.width, canvas.height] = size;
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, width, height);
    return { context, width, height };
  }

  /** Draw lines between cells that are large enough for it. */
  function grid(context, width, height, columns, rows) {
    context.strokeStyle = colors.paper;
    context.lineWidth = 1;
    context.beginPath();
    if (width / columns >= 7) {
      for (let i = 1; i < columns; i++) { context.moveTo(i * width / columns, 0); context.lineTo(i * width / columns, height); }
    }
    if (height / rows >= 6) {
      for (let i = 1; i < rows; i++) { context.moveTo(0, i * height / rows); context.lineTo(width, i * height / rows); }
    }
    context.stroke();
  }

  function rectangle(context, x, y, width, height, color, line = 1.5) {
    context.strokeStyle = color;
    context.lineWidth = line;
    context.strokeRect(x + line / 2, y + line / 2, Math.max(1, width - line), Math.max(1, height - line));
  }

  /** A picture with time from left to right. `marks` are cells to point out, `row` is a row to point out; steps where
  `asked` is 0 are pale, since nothing is asked for there. */
  class Timeline {
    constructor(canvas, rows, rowHeight) {
      Object.assign(this, { canvas, rows, rowHeight, columns: 1, marks: [], frames: "alarm", row: null, asked: null });
    }

    paint(columns, rows, value, kind) {
      Object.assign(this, { columns, rows, picture: image(columns, rows, value, kind) });
    }

    draw(time) {
      const { context, width, height } = fitted(this.canvas, this.rows * this.rowHeight);
      const cell = width / this.columns, high = height / this.rows;
      context.drawImage(this.picture, 0, 0, width, height);
      grid(context, width, height, this.columns, this.rows);
      context.fillStyle = `${colors.paper}b0`;
      for (let t = 0; this.asked && t < this.columns; t++) if (!this.asked[t]) context.fillRect(t * cell, 0, cell, height);
      for (const [t, row] of this.marks) rectangle(context, t * cell, row * high, cell, high, colors[this.frames], cell > 6 ? 2 : 1);
      if (this.row !== null) rectangle(context, 0, this.row * high, width, high, colors.soft, 1);
      rectangle(context, time * cell, 0, Math.max(cell, 2), height, colors.ink);
    }

    /** Return the [column, row] of an event. */
    cell(event) {
      const box = this.canvas.getBoundingClientRect(), clamp = (x, most) => Math.min(most - 1, Math.max(0, Math.floor(x)));
      return [
        clamp((event.clientX - box.left) / box.width * this.columns, this.columns),
        clamp((event.clientY - box.top) / box.height * this.rows, this.rows),
      ];
    }
  }

  /** Draw an array of rows and columns that belongs to one step. */
  function strip(canvas, rows, columns, value, kind, rowHeight = 12) {
    const { context, width, height } = fitted(canvas, rows * rowHeight);
    context.drawImage(image(columns, rows, (column, row) => value(row, column), kind), 0, 0, width, height);
    grid(context, width, height, columns, rows);
  }

  return { Timeline, fitted, image, grid, rectangle, strip, readColors, colors: () => colors };
})();
