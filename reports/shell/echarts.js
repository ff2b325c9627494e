// ECharts with the parts that the pages use; loaded after the first figures.
import { BarChart, LineChart, SankeyChart } from 'echarts/charts';
import { AriaComponent, DataZoomComponent, GridComponent, LegendScrollComponent, MarkLineComponent, TooltipComponent } from 'echarts/components';
import { init, registerLocale, use } from 'echarts/core';
import russian from 'echarts/lib/i18n/langRU.js';
import { SVGRenderer } from 'echarts/renderers';

use([BarChart, LineChart, SankeyChart, GridComponent, LegendScrollComponent, TooltipComponent, DataZoomComponent, AriaComponent, MarkLineComponent, SVGRenderer]);
registerLocale('RU', russian);

export const createChart = (node) => init(node, null, { renderer: 'svg', locale: import.meta.env.VITE_REPORT_LANG === 'en' ? 'EN' : 'RU' });
