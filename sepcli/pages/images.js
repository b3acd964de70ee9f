/* Images: one zoom for all, a slider between before and after, and the samples to choose from. */
(() => {
  const zoom = document.querySelector(".zoom input");
  zoom?.addEventListener("input", () => {
    document.documentElement.style.setProperty("--zoom", zoom.value);
    document.querySelector(".zoom output").textContent = `${Number(zoom.value)} ×`;
  });
  for (const image of document.querySelectorAll("img[data-width]")) {
    image.style.setProperty("--natural", `${image.dataset.width}px`);
  }
  if (zoom) zoom.dispatchEvent(new Event("input"));
  const compare = document.querySelector(".compare");
  if (!compare) return;
  const [slider, after, name] = [".split", ".after", ".chosen"].map((part) => compare.querySelector(part));
  const split = () => compare.style.setProperty("--split", `${slider.value}%`);
  slider.addEventListener("input", split);
  split();
  for (const radio of document.querySelectorAll(".samples input")) {
    radio.addEventListener("change", () => {
      after.src = radio.closest("label").querySelector("img").src;
      after.alt = name.textContent = radio.dataset.name;
    });
    if (radio.checked) radio.dispatchEvent(new Event("change"));
  }
})();
