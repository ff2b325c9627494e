// Intervals of shares and of their differences.

/** Quantile of the normal distribution (Acklam), for p above one half. */
export function quantile(p) {
	const a = [-39.6968302866538, 220.946098424521, -275.928510446969, 138.357751867269, -30.6647980661472, 2.50662827745924];
	const b = [-54.4760987982241, 161.585836858041, -155.698979859887, 66.8013118877197, -13.2806815528857];
	const c = [-0.00778489400243029, -0.322396458041136, -2.40075827716184, -2.54973253934373, 4.37466414146497, 2.93816398269878];
	const d = [0.00778469570904146, 0.32246712907004, 2.445134137143, 3.75440866190742];
	const sum = (terms, x) => terms.reduce((whole, term) => whole * x + term, 0);
	if (p > 0.97575) {
		const q = Math.sqrt(-2 * Math.log(1 - p));
		return -sum(c, q) / (sum(d, q) * q + 1);
	}
	const q = p - 0.5;
	const r = q * q;
	return (sum(a, r) * q) / (sum(b, r) * r + 1);
}

/** Wilson's interval of a share. */
export function wilson(part, whole, z = 1.959964) {
	const p = part / whole;
	const centre = p + (z * z) / (2 * whole);
	const half = z * Math.sqrt((p * (1 - p)) / whole + (z * z) / (4 * whole * whole));
	const scale = 1 + (z * z) / whole;
	return [(centre - half) / scale, (centre + half) / scale];
}

/** Newcombe's interval of the difference of two shares. */
export function difference([part, whole], [otherPart, otherWhole], z) {
	const [p, q] = [part / whole, otherPart / otherWhole];
	const [[low, high], [otherLow, otherHigh]] = [wilson(part, whole, z), wilson(otherPart, otherWhole, z)];
	return [p - q - Math.hypot(p - low, otherHigh - q), p - q + Math.hypot(high - p, q - otherLow)];
}

/**
 * Rows whose share differs from that of all others together, at a level that allows for their number:
 * `side` is 1 above the others and -1 below, `rate` the row's, `others` theirs.
 * @param {any[]} rows of a breakdown
 * @param {any} total of it
 * @param {string} part column
 * @param {string} whole column
 * @param {number} least records, fewer are not compared
 */
export function different(rows, total, part, whole, least) {
	if (!total || rows.length < 2) return [];
	const z = quantile(1 - 0.05 / rows.length / 2);
	return rows.flatMap((row) => {
		const others = [total[part] - row[part], total[whole] - row[whole]];
		if (row[whole] < least || others[1] < least) return [];
		const [low, high] = difference([row[part], row[whole]], others, z);
		if (low <= 0 && high >= 0) return [];
		return [{ row, side: low > 0 ? 1 : -1, rate: row[part] / row[whole], others: others[0] / others[1] }];
	});
}
