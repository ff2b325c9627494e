// The life of a chart: made when ECharts is there, as wide as its node, gone with it.

let last = Promise.resolve();

/** Waits until the charts asked for before are drawn and the browser was free for a tap. */
function turn() {
	last = last.then(() => new Promise((resolve) => setTimeout(resolve)));
	return last;
}

/**
 * @param {HTMLElement} node
 * @param {(chart: any) => void} ready
 * @returns {() => void} ends it
 */
export function chartOn(node, ready) {
	let isGone = false;
	let chart;
	let observer;
	import('./echarts.js').then(async ({ createChart }) => {
		await turn();
		if (isGone) return;
		chart = createChart(node);
		observer = new ResizeObserver(() => chart.resize());
		observer.observe(node);
		ready(chart);
	});
	return () => {
		isGone = true;
		observer?.disconnect();
		chart?.dispose();
	};
}
