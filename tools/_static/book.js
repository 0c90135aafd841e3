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
