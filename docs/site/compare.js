// Two pictures of a folder over each other, with a line between them that is dragged; which two is chosen above.
for (const place of document.querySelectorAll(".compare")) {
  const choices = place.dataset.choices.split(",").map((one) => one.split(":"));
  const controls = document.createElement("p");
  const line = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, value: 50 });
  line.setAttribute("aria-label", "How much is shown of the picture on the left");
  const pictures = [...place.querySelectorAll("img")];
  pictures.forEach((picture, i) => {
    const side = i ? "right" : "left";
    const choice = document.createElement("select");
    choice.setAttribute("aria-label", `Picture on the ${side}`);
    for (const [name, label] of choices) choice.add(new Option(label, name, false, name === place.dataset[side]));
    choice.onchange = () => {
      picture.src = `${place.dataset.folder}${choice.value}.jpg`;
      picture.alt = choice.selectedOptions[0].label;
    };
    controls.append(choice, i ? "" : " beside ");
  });
  line.oninput = () => place.style.setProperty("--line", `${line.value}%`);
  place.before(controls);
  place.append(line);
}
