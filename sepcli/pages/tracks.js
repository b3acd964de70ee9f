/* Lists of tracks: sorted by a column, filtered by a text. */
(() => {
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    table.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
      const head = button.closest("th");
      const up = head.getAttribute("aria-sort") === "descending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [a, b].map((row) => value(row, head.cellIndex));
        const [m, n] = [Number(x), Number(y)];
        const order = x !== "" && y !== "" && m === m && n === n ? m - n : x.localeCompare(y, "en", { numeric: true });
        return up ? order : -order;
      });
      body.append(...rows);
    }));
    const filter = document.querySelector(`input[data-filter="${table.id}"]`);
    const count = document.querySelector(`output[data-filter="${table.id}"]`);
    filter?.addEventListener("input", () => {
      const text = filter.value.toLowerCase();
      for (const row of body.rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(text);
      count.textContent = `${[...body.rows].filter((row) => !row.hidden).length} of ${body.rows.length}`;
    });
  }
  for (const link of document.querySelectorAll("a[data-opens]")) {
    link.addEventListener("click", () => { document.getElementById(link.dataset.opens).open = true; });
  }
})();
