// Names for controls that the theme leaves unnamed, and the quiz.
const name = (selector, text) => {
  for (const e of document.querySelectorAll(selector)) {
    const label = typeof text === "string" ? text : text(e);
    if (label) e.setAttribute("aria-label", label);
  }
};

const nameControls = () => {
  name(".bd-sidebar-primary details > summary", e =>
    `Pages under ${e.closest("li")?.querySelector(":scope > a")?.textContent.trim() || "this page"}`);
  name(".theme-switch-button", "Color mode: light, dark or as the system");
  name(".search-button-field", "Search Ctrl+K");
  for (const e of document.querySelectorAll("details.hide > summary")) e.removeAttribute("aria-label");
  for (const e of document.querySelectorAll(".bd-article th"))
    if (!e.textContent.trim()) e.replaceWith(document.createElement("td"));
  for (const e of document.querySelectorAll("[role=doc-biblioentry]")) e.setAttribute("role", "listitem");
  const brand = document.querySelector(".bd-sidebar-primary .navbar-brand")?.closest(".sidebar-primary__section");
  brand?.setAttribute("role", "navigation");
  brand?.setAttribute("aria-label", "Site");
};

const startQuiz = form => {
  const explanations = [...form.querySelectorAll(".quiz-why")];
  const show = chosen => explanations.forEach((p, i) => { p.hidden = i !== chosen; });
  show(-1);
  form.reset();
  form.addEventListener("change", e => show(+e.target.value));
  form.addEventListener("submit", e => e.preventDefault());
};

document.addEventListener("DOMContentLoaded", () => {
  nameControls();
  document.querySelectorAll("form.quiz").forEach(startQuiz);
});
