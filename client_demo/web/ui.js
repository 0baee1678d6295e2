// @ts-check
// Builds and updates the elements of the page. Does not know about sessions.

/** @typedef {import("./api.js").Character} Character */
/** @typedef {import("./api.js").Speaker} Speaker */
/**
 * @typedef {{video: HTMLVideoElement, poster: HTMLImageElement, glow: HTMLImageElement,
 *   text: HTMLInputElement, voice: HTMLSelectElement, file: HTMLInputElement,
 *   strength: HTMLInputElement, key: HTMLInputElement, level: HTMLMeterElement,
 *   interrupt: HTMLButtonElement, "text-form": HTMLFormElement, "key-dialog": HTMLDialogElement,
 * }} Elements those of the page with a type of their own
 */

/**
 * @template {string} Id
 * @param {Id} id
 * @returns {Id extends keyof Elements ? Elements[Id] : HTMLElement}
 */
export function find(id) {
  return /** @type {any} */ (document.getElementById(id));
}

/**
 * @param {string} name
 * @param {Record<string, unknown>} properties
 * @param {(Node | string)[]} children
 */
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/**
 * @param {Element} button
 * @param {string} icon
 */
export function setIcon(button, icon) {
  button.querySelector("use")?.setAttribute("href", `#icon-${icon}`);
}

/**
 * @param {Element} button
 * @param {boolean} pressed
 */
export function setPressed(button, pressed) { button.setAttribute("aria-pressed", String(pressed)); }

/**
 * @param {"connecting" | "live" | "lost"} state
 * @param {string} text
 */
export function showConnection(state, text) {
  find("connection").dataset.state = state;
  find("connection").textContent = text;
}

/**
 * Show a problem over the video.
 * @param {string} text
 * @param {{name: string, run: () => void}} [action] a button that solves it
 */
export function showNotice(text, action) {
  const notice = find("notice");
  notice.replaceChildren(text);
  if (action) {
    notice.append(make("button", { type: "button", textContent: action.name, onclick: action.run }));
  }
  notice.hidden = false;
}

export function hideNotice() { find("notice").hidden = true; }

/**
 * A group of buttons, one of them pressed.
 * @param {Element} container
 * @param {{id: string, name: string}[]} choices
 * @param {string} chosen
 * @param {(id: string) => void} choose
 */
export function showChoices(container, choices, chosen, choose) {
  container.replaceChildren(...choices.map(({ id, name }) => {
    const button = make("button", { type: "button", textContent: name, onclick: () => choose(id) });
    button.dataset.id = id;
    setPressed(button, id === chosen);
    return button;
  }));
}

/**
 * The id of the pressed button of a group.
 * @param {Element} container
 */
export function pressedIn(container) {
  return /** @type {HTMLElement | null} */ (
    container.querySelector("[aria-pressed=true]"))?.dataset.id;
}

/**
 * Scroll a row of thumbs sideways, never the page, until the pressed one is in view.
 * @param {Element} row
 */
export function reveal(row) {
  const pressed = /** @type {HTMLElement | null} */ (row.querySelector("[aria-pressed=true]"));
  if (pressed) row.scrollLeft = pressed.offsetLeft - (row.clientWidth - pressed.offsetWidth) / 2;
}

/**
 * @param {Element} container
 * @param {string} chosen
 */
export function press(container, chosen) {
  for (const button of container.querySelectorAll("[data-id]")) {
    setPressed(button, /** @type {HTMLElement} */ (button).dataset.id === chosen);
  }
}

/**
 * Name tags on the video, one below each speaker's face.
 * @param {Speaker[]} speakers
 * @param {string} chosen
 * @param {(id: string) => void} choose
 */
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
      tag.setAttribute("type", "button");
      tag.onclick = () => choose(id);
      tag.style.left = `${(box.x + box.width / 2) * 100}%`;
      setPressed(tag, id === chosen);
    }
    tag.dataset.id = id;
    tag.dataset.state = "idle";
    return tag;
  }));
}

/**
 * @param {string} speaker
 * @param {string} state
 */
export function showSpeakerState(speaker, state) {
  const tag = /** @type {HTMLElement[]} */ ([...find("tags").children])
    .find(({ dataset }) => dataset.id === speaker);
  if (!tag) return;
  tag.dataset.state = state;
  tag.querySelector(".sr")?.replaceChildren(state);
}

/**
 * @param {Character[]} characters
 * @param {(id: string) => void} choose
 */
export function showGallery(characters, choose) {
  const thumbs = (/** @type {(one: Character) => boolean} */ wanted) => (
    characters.filter(wanted).map(({ id, name, picture }) => {
      const image = make("img", { src: picture, alt: "", loading: "lazy", width: 128, height: 128 });
      const button = make("button", { type: "button", className: "thumb", onclick: () => choose(id) },
        image, make("span", { textContent: name }));
      button.dataset.id = id;
      return button;
    }));
  const pairs = thumbs(({ speakers }) => speakers.length > 1);
  find("singles").replaceChildren(...thumbs(({ speakers }) => speakers.length === 1));
  find("pairs").replaceChildren(...pairs);
  find("pairs-title").hidden = pairs.length === 0;
}

/**
 * Show a measured value; a dash if it is not known.
 * @param {string} name
 * @param {number | null} [value]
 * @param {string} unit
 */
export function showReading(name, value = null, unit = "") {
  const text = value !== null && Number.isFinite(value) ? `${value.toLocaleString()}${unit}` : "–";
  find(`read-${name}`).textContent = text;
}

const EVENTS_SHOWN = 60;

/**
 * One line in the list of events, newest first.
 * @param {import("./session.js").ServerEvent} event
 */
export function logEvent({ type, ...fields }) {
  const brief = JSON.stringify(fields, (key, value) => (key === "sdp" ? "…" : value));
  const line = make("li", { textContent: `${type} ${brief.slice(0, 220)}` });
  line.classList.toggle("bad", type === "error");
  const list = find("events");
  list.prepend(line);
  while (list.children.length > EVENTS_SHOWN) list.lastChild?.remove();
}
