// What the theme leaves to do in the browser.
"use strict";

// Search results show an excerpt by fetching the page, which no browser allows for files.
if (window.location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// Wide equations, tables and figures scroll; the keyboard must be able to scroll them, too.
(() => {
  const WIDE = "div.math, mjx-container[display='true'], .pst-scrollable-table-container, div.cell_output > div, .cell_output .output";

  function mark() {
    for (const element of document.querySelectorAll(WIDE)) {
      const scrolls = element.scrollWidth > element.clientWidth;
      if (scrolls) element.tabIndex = 0;
      else if (element.tabIndex === 0) element.removeAttribute("tabindex");
    }
  }

  let timer = null;
  window.addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(mark, 100);
  });
  window.addEventListener("load", () => {
    mark();
    // Mathematics gets its width later.
    window.MathJax?.startup?.promise?.then(mark);
  });
})();

// How deep a page goes: its story; its proofs, too; or its code, too. Remembered between pages.
(() => {
  const DEPTHS = { story: "Story", proofs: "Proofs", code: "Code" };
  const KEY = "hmmtheory-depth";
  const CODE = "div.cell_input, details.above-input";
  const root = document.documentElement;

  function remembered() {
    try {
      return window.localStorage.getItem(KEY);
    } catch {
      return null; // storage may be forbidden
    }
  }

  const asked = new URLSearchParams(window.location.search).get("depth") ?? remembered();
  root.dataset.depth = asked in DEPTHS ? asked : "story";

  function show(depth) {
    root.dataset.depth = depth;
    for (const proof of document.querySelectorAll("details.proof-fold")) proof.open = depth !== "story";
    for (const code of document.querySelectorAll("details.above-input")) code.open = depth === "code";
    for (const button of document.querySelectorAll(".depth-switch button")) {
      button.setAttribute("aria-pressed", String(button.dataset.depth === depth));
    }
    // What was hidden has a width now.
    window.dispatchEvent(new Event("resize"));
  }

  function folded(said) {
    const details = document.createElement("details");
    details.className = "proof-fold";
    const summary = document.createElement("summary");
    summary.append(said);
    details.append(summary);
    return details;
  }

  function fold(proof) {
    const details = folded("Proof");
    proof.replaceWith(details);
    details.append(proof);
  }

  // A whole section: its heading stays, and opens it.
  function foldSection(section) {
    const inside = [...section.children].filter((child) => child.tagName !== "SPAN");
    const details = folded(inside[0]);
    section.append(details);
    details.append(...inside.slice(1));
  }

  // Whoever follows a link into a fold must find it open.
  function openTarget() {
    const target = document.getElementById(decodeURIComponent(window.location.hash.slice(1)));
    if (!target) return;
    const start = target.matches("section.proofs") ? target.querySelector("details") : target;
    for (let inside = start.closest("details"); inside; inside = inside.parentElement.closest("details")) {
      inside.open = true;
    }
    target.scrollIntoView();
  }
  window.addEventListener("hashchange", openTarget);

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll('div[class="proof admonition"]').forEach(fold);
    document.querySelectorAll("section.proofs").forEach(foldSection);
    const buttons = document.querySelector(".article-header-buttons");
    if (!buttons || !document.querySelector(`${CODE}, details.proof-fold`)) return openTarget();
    const group = document.createElement("div");
    group.className = "depth-switch";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "What the page shows");
    for (const [depth, name] of Object.entries(DEPTHS)) {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.depth = depth;
      button.textContent = name;
      button.addEventListener("click", () => {
        try {
          window.localStorage.setItem(KEY, depth);
        } catch {
          // Not remembered, then.
        }
        const seen = [...document.querySelectorAll(".bd-article h2, .bd-article h3, .bd-article p")]
          .find((e) => e.checkVisibility() && e.getBoundingClientRect().bottom > 100);
        const before = seen?.getBoundingClientRect().top;
        show(depth);
        // The reader stays where they were, though the page above them grew or shrank.
        if (seen) window.scrollBy({ top: seen.getBoundingClientRect().top - before, behavior: "instant" });
      });
      group.append(button);
    }
    buttons.prepend(group);
    show(root.dataset.depth);
    openTarget();
  });
})();

// Hover cards: what a link to a box, an equation, a term or a reference leads to, by mouse, keyboard
// and touch, without a request. The script with their contents is loaded with the first card.
(() => {
  const here = document.currentScript.src;
  const root = new URL("../", here).href;
  const LINKS = "article a.internal[href*='#']";
  let card = null;
  let shownFor = null;
  let timer = null;
  let contents = null;

  function load() {
    contents ??= new Promise((done) => {
      const script = document.createElement("script");
      script.src = new URL("cards.js", here).href;
      script.onload = () => done(window.hmmCards);
      script.onerror = () => done({});
      document.head.append(script);
    });
    return contents;
  }

  function hide() {
    clearTimeout(timer);
    if (!shownFor) return;
    shownFor.removeAttribute("aria-describedby");
    shownFor = null;
    card.hidden = true;
  }

  function place(link) {
    const box = link.getBoundingClientRect();
    const width = Math.min(520, document.documentElement.clientWidth - 16);
    card.style.width = `${width}px`;
    const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - width - 8));
    const below = window.innerHeight - box.bottom > card.offsetHeight + 12;
    const top = below ? box.bottom + 6 : Math.max(8, box.top - card.offsetHeight - 6);
    card.style.left = `${left + window.scrollX}px`;
    card.style.top = `${top + window.scrollY}px`;
  }

  // "chapters/03_….html#thm-r1": how the script names its contents.
  const address = (link) => decodeURIComponent(link.href).slice(decodeURIComponent(root).length);

  async function show(link, byTouch = false) {
    const html = (await load())[address(link)];
    if (!html || shownFor === link) return;
    hide();
    if (!card) {
      card = document.createElement("div");
      card.className = "hmm-card";
      card.id = "hmm-card";
      card.setAttribute("role", "tooltip");
      card.addEventListener("mouseenter", () => clearTimeout(timer));
      card.addEventListener("mouseleave", hide);
      document.body.append(card);
    }
    card.innerHTML = html;
    if (byTouch) {
      const go = document.createElement("a");
      go.href = link.href;
      go.textContent = "Go there";
      card.append(go);
    }
    card.hidden = false;
    shownFor = link;
    link.setAttribute("aria-describedby", card.id);
    place(link);
    await window.MathJax?.typesetPromise?.([card]);
    if (shownFor === link) place(link);
  }

  function later(what, wait) {
    clearTimeout(timer);
    timer = setTimeout(what, wait);
  }

  document.addEventListener("DOMContentLoaded", () => {
    let touched = false;
    document.addEventListener("pointerdown", (event) => {
      touched = event.pointerType === "touch";
      if (shownFor && !card.contains(event.target) && !event.target.closest(LINKS)) hide();
    });
    document.addEventListener("keydown", (event) => {
      touched = false;
      if (event.key === "Escape") hide();
    });
    for (const link of document.querySelectorAll(LINKS)) {
      link.addEventListener("mouseenter", () => touched || later(() => show(link), 200));
      link.addEventListener("mouseleave", () => touched || later(hide, 200));
      link.addEventListener("focus", () => touched || show(link));
      link.addEventListener("blur", () => touched || later(hide, 200));
      // The first touch shows the card, which offers the way; another page is never left by accident.
      link.addEventListener("click", (event) => {
        if (!touched || shownFor === link) return;
        if (window.hmmCards && !window.hmmCards[address(link)]) return;
        event.preventDefault();
        show(link, true).then(() => {
          if (shownFor !== link) window.location.assign(link.href);
        });
      });
    }
  });
})();
