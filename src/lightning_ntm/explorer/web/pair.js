"use strict";
/* Two pages of networks side by side. Each reports its episode and step, which are passed to the other, and what it has
alone: changes of heads, the step of the training. The address keeps all of it, with a slash before what is of each page. A
page that starts is given what is shown already; without an address that is what the first page shows. */
(() => {
  const frames = [...document.querySelectorAll("iframe")].map((frame) => frame.contentWindow);
  let shown = "", own = ["", ""], written = "", address = 0;

  function read() {
    const [first, ...others] = location.hash.slice(1).split("/");
    [shown, own] = [first, frames.map((_, number) => others[number] ?? "")];
  }

  const give = (number) => frames[number].postMessage({ restored: [shown, own[number]].filter(Boolean).join("&") }, "*");

  window.addEventListener("message", ({ source, data }) => {
    const from = frames.indexOf(source);
    if (from < 0 || typeof data?.shown !== "string" || typeof data.own !== "string") return;
    if (data.starts && shown) return give(from);
    own[from] = data.own;
    if (!data.starts || from === 0) {
      shown = data.shown;
      frames[1 - from].postMessage(shown, "*");
    }
    keepAddress();
  });

  function keepAddress() {
    clearTimeout(address);
    address = setTimeout(() => {
      written = `#${[shown, ...own].join("/").replace(/\/+$/, "")}`;
      try { window.history.replaceState(null, "", written); } catch { /* a page within a page has no address of its own */ }
    }, 150);
  }

  // Keys are for the first page. A page that is not in front when it has loaded is given them with its first key.
  for (const event of ["load", "focus", "keydown"]) window.addEventListener(event, () => frames[0].focus());

  window.addEventListener("hashchange", () => {
    if (location.hash === written) return;
    read();
    frames.forEach((_, number) => give(number));
  });
  read();
})();
