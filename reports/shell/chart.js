// The life of a chart: made when ECharts is there, as wide as its node, gone with it.

/**
 * @param {HTMLElement} node
 * @param {(chart: any) => void} ready
 * @returns {() => void} ends it
 */
export function chartOn(node, ready) {
	let isGone = false;
	let chart;
	let observer;
	import('./echarts.js').then(({ createChart }) => {
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
