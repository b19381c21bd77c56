"use strict";
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  // sort sorts a table by a column. Equal rows keep their order.
  const sort = (table, column, descending) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].filter((row) => row.cells.length > column);
    rows.sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)];
      const order = typeof x === "number" ? x - y : x.localeCompare(y);
      return descending ? -order : order;
    });
    body.append(...rows);
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };
  for (const table of document.querySelectorAll("table")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        sort(table, column, head.getAttribute("aria-sort") === "ascending");
      });
    });
  }
  const containers = document.getElementById("containers");
  document.getElementById("sort").addEventListener("change", (event) => {
    sort(containers, Number(event.target.value), event.target.value === "5");
  });
  const filter = document.getElementById("filter");
  const cards = [...document.querySelectorAll(".card")];
  // show hides the rows that the filter and the pressed cards leave out.
  const show = () => {
    const text = filter.value.trim().toLowerCase();
    const states = cards.filter((c) => c.getAttribute("aria-pressed") === "true").map((c) => c.dataset.state);
    let shown = 0;
    const rows = [...containers.tBodies[0].rows].filter((row) => row.dataset.states !== undefined);
    for (const row of rows) {
      const has = row.dataset.states.split(" ");
      row.hidden = !(states.length === 0 || states.some((s) => has.includes(s))) ||
        !row.textContent.toLowerCase().includes(text);
      if (!row.hidden) shown++;
    }
    document.getElementById("shown").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
  };
  filter.addEventListener("input", show);
  for (const card of cards) {
    card.addEventListener("click", () => {
      card.setAttribute("aria-pressed", String(card.getAttribute("aria-pressed") !== "true"));
      show();
    });
  }
  show(); // a browser may keep the text of the filter when the page is loaded again
})();
