// DuckDB's worker, made to ask for less at a time. What it reads in order it reads ahead, four times
// as much each time and up to 16 MB, most of it of columns that no query names.
const MOST = 1 << 18;
const { setRequestHeader } = XMLHttpRequest.prototype;
XMLHttpRequest.prototype.setRequestHeader = function (name, value) {
	const range = name === 'Range' && /^bytes=(\d+)-(\d+)$/.exec(value);
	const [first, last] = range ? range.slice(1).map(Number) : [];
	setRequestHeader.call(this, name, range ? `bytes=${first}-${Math.min(last, first + MOST - 1)}` : value);
};
importScripts(decodeURIComponent(location.hash.slice(1)));
