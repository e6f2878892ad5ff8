// Sorting, filtering, exports of the current view, light and dark. Without it the pages show everything.
"use strict";

(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const text = (cell) => cell.textContent.replace(/\s+/g, " ").trim();

  function remember(theme) {
    try { localStorage.setItem("refkit-theme", theme); } catch { /* storage may be closed for local files */ }
  }

  function remembered() {
    try { return localStorage.getItem("refkit-theme"); } catch { return null; }
  }

  function setUpTheme() {
    const button = document.getElementById("theme");
    const root = document.documentElement;
    const dark = () => root.dataset.theme
      ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
    if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      remember(root.dataset.theme);
      label();
    });
    button.hidden = false;
    label();
  }

  // Numbers by value with empty cells last, texts by the alphabet.
  function compare(one, other, numeric, sign) {
    const [a, b] = [one, other].map((cell) => (numeric ? cell.dataset.sort : text(cell).toLowerCase()));
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b));
  }

  function sortBy(table, header, column) {
    const numeric = "number" in header.dataset;
    const first = numeric ? "descending" : "ascending";
    const second = numeric ? "ascending" : "descending";
    const direction = header.getAttribute("aria-sort") === first ? second : first;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => compare(a.cells[column], b.cells[column], numeric, sign));
    table.tBodies[0].append(...rows);
  }

  function setUpSorting(table) {
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = header.textContent;
      header.replaceChildren(button);
      button.addEventListener("click", () => sortBy(table, header, column));
    });
  }

  function applyFilters(form, tables) {
    const wanted = all("select", form).filter((select) => select.value)
      .map((select) => [select.dataset.filter, select.value]);
    const words = document.getElementById("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of tables.flatMap((table) => [...table.tBodies[0].rows])) {
      const fits = wanted.every(([name, value]) => name === "overlap"
        ? row.dataset.overlap.split(" ").includes(value) : row.dataset[name] === value);
      const content = words.length ? row.textContent.toLowerCase() : "";
      row.hidden = !(fits && words.every((word) => content.includes(word)));
    }
    for (const table of tables) {
      table.closest(".board").classList.toggle("empty", [...table.tBodies[0].rows].every((row) => row.hidden));
    }
    const main = tables.filter((table) => !table.closest("details")).flatMap((table) => [...table.tBodies[0].rows]);
    const shown = main.filter((row) => !row.hidden).length;
    document.getElementById("count").textContent = `${shown} of ${main.length} rows`;
  }

  function setUpFilters(form, tables) {
    const apply = () => applyFilters(form, tables);
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    form.hidden = false;
    apply();
  }

  // The cells of what is shown now: the first cell of a row is its method, values without rank and bar.
  function view(table) {
    const head = [...table.tHead.rows[0].cells].map(text);
    const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => [...row.cells].map((cell, place) => {
      const figure = cell.querySelector(".figure");
      const interval = cell.querySelector(".interval");
      if (figure) return interval ? `${text(figure)} ${text(interval)}` : text(figure);
      return place === 0 ? text(cell.querySelector("a")) : text(cell);
    }));
    return { head, rows };
  }

  const quoted = (value) => `"${(/^[=+\-@\t\r]/.test(value) ? `'${value}` : value).replaceAll('"', '""')}"`;
  const piped = (value) => value.replace(/[\\`*_{}[\]<>|#!~$&]/g, "\\$&");
  const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}" };
  const tex = (value) => value.replace(/[\\~^<>&%$#_{}]/g, (sign) => LATEX[sign] ?? `\\${sign}`);

  const WRITERS = {
    csv: ({ head, rows }) => [head, ...rows].map((row) => row.map(quoted).join(",")).join("\n") + "\n",
    json: ({ head, rows }) => JSON.stringify(rows.map((row) => Object.fromEntries(row.map((cell, i) => [head[i], cell]))), null, 1) + "\n",
    md: ({ head, rows }) => [head, head.map(() => "---"), ...rows].map((row, i) => `| ${row.map((cell) => (i === 1 ? cell : piped(cell))).join(" | ")} |`).join("\n") + "\n",
    tex: ({ head, rows }) => [`\\begin{tabular}{${"l".repeat(head.length)}}`, "\\toprule", ...[head, ...rows].flatMap((row, i) => [`${row.map(tex).map((cell) => cell.replace(/\[/g, "{[}")).join(" & ")} \\\\`, ...(i === 0 ? ["\\midrule"] : [])]), "\\bottomrule", "\\end{tabular}", ""].join("\n"),
  };

  function setUpExports(section) {
    const table = section.querySelector("table");
    for (const button of all("[data-format]", section)) {
      button.addEventListener("click", () => {
        const link = document.createElement("a");
        const content = WRITERS[button.dataset.format](view(table));
        link.href = URL.createObjectURL(new Blob([content], { type: "text/plain" }));
        link.download = `${section.dataset.board}.view.${button.dataset.format}`;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      });
    }
    section.querySelector(".view").hidden = false;
  }

  setUpTheme();
  const tables = all("table.sortable");
  tables.forEach(setUpSorting);
  const form = document.getElementById("filters");
  if (form) setUpFilters(form, tables);
  all(".board").forEach(setUpExports);
})();
