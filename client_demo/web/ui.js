// Builds and updates the parts of the page. Knows nothing of sessions.

export const find = (id) => document.getElementById(id);

export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export function setIcon(button, icon) {
  button.querySelector("use").setAttribute("href", `#icon-${icon}`);
}

export function setPressed(button, pressed) { button.setAttribute("aria-pressed", pressed); }

export function showConnection(state, text) {
  find("connection").dataset.state = state;
  find("connection").textContent = text;
}

/** Tell of a problem over the picture; `action` is `{name, run}` for a way out of it. */
export function showNotice(text, action) {
  const notice = find("notice");
  notice.replaceChildren(text);
  if (action) notice.append(make("button", { type: "button", textContent: action.name, onclick: action.run }));
  notice.hidden = false;
}

export function hideNotice() { find("notice").hidden = true; }

/** One group of buttons of which one is pressed. `choices`: `[{id, name}]`. */
export function showChoices(container, choices, chosen, choose) {
  container.replaceChildren(...choices.map(({ id, name }) => {
    const button = make("button", { type: "button", textContent: name, onclick: () => choose(id) });
    button.dataset.id = id;
    setPressed(button, id === chosen);
    return button;
  }));
}

/** Scroll a row of thumbs sideways, never the page, until the pressed one is seen. */
export function reveal(row) {
  const pressed = row.querySelector("[aria-pressed=true]");
  if (pressed) row.scrollLeft = pressed.offsetLeft - (row.clientWidth - pressed.offsetWidth) / 2;
}

export function press(container, chosen) {
  for (const button of container.querySelectorAll("[data-id]")) {
    setPressed(button, button.dataset.id === chosen);
  }
}

/** Name tags on the picture, one for each speaker, below their face. */
export function showTags(speakers, chosen, choose) {
  const several = speakers.length > 1;
  find("tags").classList.toggle("several", several);
  find("tags").replaceChildren(...speakers.map(({ id, name, box }) => {
    const bars = make("span", { className: "bars" }, make("i"), make("i"), make("i"));
    bars.setAttribute("aria-hidden", "true");
    const state = make("span", { className: "sr", textContent: "idle" });
    const tag = make(several ? "button" : "p", { className: several ? "tag" : "tag alone" },
      bars, name, state);
    if (several) {
      tag.type = "button";
      tag.onclick = () => choose(id);
      tag.style.left = `${(box.x + box.width / 2) * 100}%`;
      setPressed(tag, id === chosen);
    }
    tag.dataset.id = id;
    tag.dataset.state = "idle";
    return tag;
  }));
}

export function showSpeakerState(speaker, state) {
  const tag = [...find("tags").children].find(({ dataset }) => dataset.id === speaker);
  if (!tag) return;
  tag.dataset.state = state;
  tag.querySelector(".sr").textContent = state;
}

/** The gallery. `characters`: `[{id, name, picture, speakers}]`. */
export function showGallery(characters, choose) {
  const thumbs = (wanted) => characters.filter(wanted).map(({ id, name, picture }) => {
    const image = make("img", { src: picture, alt: "", loading: "lazy", width: 128, height: 128 });
    const button = make("button", { type: "button", className: "thumb", onclick: () => choose(id) },
      image, make("span", { textContent: name }));
    button.dataset.id = id;
    return button;
  });
  const pairs = thumbs(({ speakers }) => speakers.length > 1);
  find("singles").replaceChildren(...thumbs(({ speakers }) => speakers.length === 1));
  find("pairs").replaceChildren(...pairs);
  find("pairs-title").hidden = pairs.length === 0;
}

export function read(name, value, unit = "") {
  const known = Number.isFinite(value);
  find(`read-${name}`).textContent = known ? `${value.toLocaleString()}${unit}` : "–";
}

const EVENTS_SHOWN = 60;

/** One line in the list of events, newest first. */
export function logEvent({ type, ...fields }) {
  const brief = JSON.stringify(fields, (key, value) => (key === "sdp" ? "…" : value));
  const line = make("li", { textContent: `${type} ${brief.slice(0, 220)}` });
  line.classList.toggle("bad", type === "error");
  const list = find("events");
  list.prepend(line);
  while (list.children.length > EVENTS_SHOWN) list.lastChild.remove();
}
