// @ts-check
// Text-to-speech voices that the page offers: espeak-ng's languages, two voices each.

const LANGUAGES = [
  ["en-us", "US English"], ["en-gb", "UK English"], ["de", "Deutsch"], ["fr", "Français"],
  ["es", "Español"], ["it", "Italiano"], ["pt-br", "Português"], ["nl", "Nederlands"],
  ["pl", "Polski"], ["sv", "Svenska"], ["tr", "Türkçe"], ["hi", "हिन्दी"],
];

const VARIANTS = [["+f3", "high"], ["+m3", "low"]];

/** Each language in a high and a low voice. */
export const VOICES = LANGUAGES.flatMap(([language, name]) =>
  VARIANTS.map(([variant, pitch]) => ({ id: language + variant, name: `${name}, ${pitch}` })));

/**
 * The offered voice nearest to a language.
 * @param {string} language as in `navigator.language`
 */
export function voiceFor(language) {
  const wanted = language.toLowerCase();
  const base = wanted.split("-")[0];
  const found = VOICES.find(({ id }) => id.startsWith(`${wanted}+`))
    ?? VOICES.find(({ id }) => id.split(/[-+]/)[0] === base);
  return (found ?? VOICES[0]).id;
}
