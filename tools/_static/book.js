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
