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

/** Wilson's interval of a share; the same in SQL: pipelines/metrics.py. */
export function wilson(part, whole, z = 1.959963984540054) {
	const p = part / whole;
	const centre = p + (z * z) / (2 * whole);
	const half = z * Math.sqrt((p * (1 - p)) / whole + (z * z) / (4 * whole * whole));
	const scale = 1 + (z * z) / whole;
	// None and all have an exact end.
	return [part ? (centre - half) / scale : 0, part < whole ? (centre + half) / scale : 1];
}

/** Newcombe's interval of the difference of two shares. */
export function difference([part, whole], [otherPart, otherWhole], z) {
	const [p, q] = [part / whole, otherPart / otherWhole];
	const [[low, high], [otherLow, otherHigh]] = [wilson(part, whole, z), wilson(otherPart, otherWhole, z)];
	return [p - q - Math.hypot(p - low, otherHigh - q), p - q + Math.hypot(high - p, q - otherLow)];
}

/**
 * The latest cohort that is old enough, at the highest age that it has reached, beside the earlier ones
 * at that age; undefined where fewer than two of them are.
 * @param {any[]} rows of a rate by `period` and age, empty where the age is not reached
 * @param {{age: string, rate: string, least: number}} columns `least`: records, smaller cohorts say nothing
 */
export function maturity(rows, { age, rate, least }) {
	const told = rows.filter((row) => row[rate] !== null && row[`${rate}__n`] >= least);
	const latest = told.reduce((last, row) => (!last || row.period > last.period || (row.period === last.period && row[age] > last[age]) ? row : last), undefined);
	const earlier = told.filter((row) => row[age] === latest[age] && row.period < latest.period).map((row) => row[rate]);
	if (earlier.length < 2) return undefined;
	return { period: latest.period, age: latest[age], rate: latest[rate], low: Math.min(...earlier), high: Math.max(...earlier) };
}

/** Logarithm of n! (Stirling). */
function lnFactorial(n) {
	if (n > 100) return n * Math.log(n) - n + 0.5 * Math.log(2 * Math.PI * n) + 1 / (12 * n) - 1 / (360 * n ** 3);
	let sum = 0;
	for (let i = 2; i <= n; i += 1) sum += Math.log(i);
	return sum;
}

const lnChoose = (n, k) => lnFactorial(n) - lnFactorial(k) - lnFactorial(n - k);

/** How likely at least `part` of the `whole` are among `allPart` of `allWhole`, were the whole drawn at random (Fisher). */
export function chance(part, whole, allPart, allWhole) {
	const all = lnChoose(allWhole, whole);
	let sum = 0;
	for (let k = part; k <= Math.min(whole, allPart); k += 1) {
		if (whole - k > allWhole - allPart) continue;
		const term = Math.exp(lnChoose(allPart, k) + lnChoose(allWhole - allPart, whole - k) - all);
		sum += term;
		// Past its peak what follows is less.
		if (term < sum * 1e-12) break;
	}
	return sum;
}

/**
 * Rows whose share differs from that of all others together, at a level that allows for their number.
 * Newcombe's interval alone finds too many where a row has few that count: Fisher's exact test has to
 * agree. scripts/benchmark_samples.py counts how often equal rows are called different.
 * `side` is 1 above the others and -1 below, `rate` the row's, `others` theirs.
 * @param {any[]} rows of a breakdown
 * @param {any} total of it
 * @param {string} part column
 * @param {string} whole column
 * @param {number} least records, fewer are not compared
 */
export function different(rows, total, part, whole, least) {
	if (!total || rows.length < 2) return [];
	const tail = 0.05 / rows.length / 2;
	const z = quantile(1 - tail);
	return rows.flatMap((row) => {
		const others = [total[part] - row[part], total[whole] - row[whole]];
		if (row[whole] < least || others[1] < least) return [];
		const [low, high] = difference([row[part], row[whole]], others, z);
		if (low <= 0 && high >= 0) return [];
		const side = low > 0 ? 1 : -1;
		const [counting, all] = side > 0 ? [row[part], total[part]] : [row[whole] - row[part], total[whole] - total[part]];
		if (chance(counting, row[whole], all, total[whole]) > tail) return [];
		return [{ row, side, rate: row[part] / row[whole], others: others[0] / others[1] }];
	});
}
