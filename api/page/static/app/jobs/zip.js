/** A zip of small texts, put together here: the API has zips of batches only. Stored, not packed (APPNOTE 6.3.10, 4.3). */

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** @param {Uint8Array} data */
function crc32(data) {
  let sum = -1;
  for (const byte of data) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return ~sum;
}

/**
 * @param {{ name: string, data: Uint8Array<ArrayBuffer> }[]} files fewer than 65,536, less than 4 GiB
 * @returns {Blob}
 */
export function zip(files) {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const parts = [];
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const directory = [];
  const used = new Set();
  let at = 0;
  for (const { name, data } of files) {
    const path = new TextEncoder().encode(unused(name.replace(/[/\\]/g, "_"), used));
    // version 2.0, UTF-8 names, stored, 1 January 1980
    const common = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 33], [4, crc32(data)], [4, data.length], [4, data.length], [2, path.length], [2, 0]];
    parts.push(numbers([[4, 0x04034b50], ...common]), path, data);
    directory.push(numbers([[4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]]), path);
    at += 30 + path.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = numbers([[4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, at], [2, 0]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/**
 * The second `talk.srt` is `talk (2).srt`.
 * @param {string} name
 * @param {Set<string>} used
 */
function unused(name, used) {
  let free = name;
  for (let n = 2; used.has(free.toLowerCase()); n++) free = name.replace(/(\.[^.]*)?$/, (end) => ` (${n})${end}`);
  used.add(free.toLowerCase());
  return free;
}

/** @param {number[][]} fields bytes and value of each, little-endian */
function numbers(fields) {
  return Uint8Array.from(fields.flatMap(([bytes, value]) => Array.from({ length: bytes }, (_, n) => (value >>> (8 * n)) & 255)));
}
