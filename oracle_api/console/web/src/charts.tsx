/** Charts as SVG: lines, bars and shares over time. Each says its figures in words to who cannot see it. */
import { useId, useState } from "preact/hooks";

export interface Series {
  name: string;
  colour: string;
  values: (number | null)[];
}

interface ChartProps {
  title: string;
  at: number[];
  series: Series[];
  show: (value: number | null) => string;
  kind?: "line" | "bar";
  bounds?: [number, number];
  /** Horizontal lines, such as a goal. */
  bands?: { value: number; label: string }[];
}

const WIDTH = 640;
const HEIGHT = 180;
const LEFT = 4;
const RIGHT = 58;
const TOP = 12;
const BOTTOM = 22;

function clockTime(at: number, span: number): string {
  const date = new Date(at * 1000);
  return span > 2 * 86_400
    ? date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })
    : date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

/** A round number at or above the value. */
function roundUp(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 2.5, 5, 10].find((one) => one * power >= value) ?? 10) * power;
}

export function Chart({ title, at, series, show, kind = "line", bounds, bands = [] }: ChartProps) {
  const id = useId();
  const [hover, setHover] = useState<number | null>(null);
  const stacked = kind === "bar";
  const totals = at.map((_, n) =>
    stacked
      ? series.reduce((sum, one) => sum + (one.values[n] ?? 0), 0)
      : Math.max(...series.map((one) => one.values[n] ?? 0)),
  );
  const [low, high] = bounds ?? [0, roundUp(Math.max(0, ...totals))];
  const first = at[0] ?? 0;
  const last = at[at.length - 1] ?? 1;
  const span = Math.max(1, last - first);
  const step = (WIDTH - LEFT - RIGHT) / Math.max(1, at.length);
  const x = (n: number) => LEFT + step * (n + 0.5);
  const y = (value: number) =>
    TOP + (HEIGHT - TOP - BOTTOM) * (1 - (Math.min(high, Math.max(low, value)) - low) / (high - low || 1));

  const point = (event: PointerEvent) => {
    const box = (event.currentTarget as SVGElement).getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * WIDTH;
    setHover(Math.min(at.length - 1, Math.max(0, Math.floor((place - LEFT) / step))));
  };
  const shown = hover ?? at.length - 1;
  const has = series.some((one) => one.values.some((value) => value !== null));

  return (
    <figure class="chart" aria-labelledby={id}>
      <figcaption>
        <span id={id} class="title">
          {title}
        </span>
        <span class="legend">
          {hover !== null && <span class="num">{clockTime(at[shown] ?? 0, 0)}</span>}
          {series.map((one) => (
            <span key={one.name}>
              <i class={`swatch ${one.colour}`} />
              {one.name} <b class="num">{show(one.values[shown] ?? null)}</b>
            </span>
          ))}
        </span>
      </figcaption>
      {has ? (
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          role="img"
          aria-label={`${title}: ${series.map((one) => `${one.name} ${show(one.values[at.length - 1] ?? null)}`).join(", ")} now`}
          onPointerMove={point}
          onPointerLeave={() => setHover(null)}
        >
          {[low, (low + high) / 2, high].map((value) => (
            <g key={value}>
              <line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={y(value)} y2={y(value)} />
              <text class="tick" x={WIDTH - RIGHT + 8} y={y(value) + 4}>
                {show(value)}
              </text>
            </g>
          ))}
          {bands.map((band) => (
            <g key={band.label}>
              <line class="band" x1={LEFT} x2={WIDTH - RIGHT} y1={y(band.value)} y2={y(band.value)} />
              <text class="tick" x={LEFT} y={y(band.value) - 3}>
                {band.label}
              </text>
            </g>
          ))}
          {kind === "line"
            ? series.map((one) => <Line key={one.name} of={one} x={x} y={y} />)
            : at.map((moment, n) => <Bar key={moment} n={n} series={series} x={x} y={y} width={step} />)}
          {hover !== null && (
            <line class="cursor" x1={x(hover)} x2={x(hover)} y1={TOP} y2={HEIGHT - BOTTOM} />
          )}
          {[0, 0.5, 1].map((share) => (
            <text
              key={share}
              class="tick"
              x={LEFT + share * (WIDTH - LEFT - RIGHT)}
              y={HEIGHT - 6}
              text-anchor={share === 0 ? "start" : share === 1 ? "end" : "middle"}
            >
              {clockTime(first + share * span, span)}
            </text>
          ))}
        </svg>
      ) : (
        <p class="empty small">Nothing in this time.</p>
      )}
    </figure>
  );
}

interface Scales {
  x: (n: number) => number;
  y: (value: number) => number;
}

function Line({ of, x, y }: Scales & { of: Series }) {
  const pieces: string[] = [];
  let open = false;
  of.values.forEach((value, n) => {
    if (value === null) {
      open = false;
      return;
    }
    pieces.push(`${open ? "L" : "M"}${x(n).toFixed(1)} ${y(value).toFixed(1)}`);
    open = true;
  });
  const lonely = of.values.flatMap((value, n) =>
    value !== null && (of.values[n - 1] ?? null) === null && (of.values[n + 1] ?? null) === null
      ? [{ value, n }]
      : [],
  );
  return (
    <g class={of.colour}>
      <path class="line" d={pieces.join("")} />
      {lonely.map(({ value, n }) => (
        <circle key={n} class="dot" cx={x(n)} cy={y(value)} r="3" />
      ))}
    </g>
  );
}

function Bar({ n, series, x, y, width }: Scales & { n: number; series: Series[]; width: number }) {
  let base = 0;
  const gap = Math.min(2, width / 4);
  return (
    <g>
      {series.map((one) => {
        const value = one.values[n] ?? 0;
        const from = y(base);
        base += value;
        const to = y(base);
        if (!value) return null;
        return (
          <rect
            key={one.name}
            class={`bar ${one.colour}`}
            x={x(n) - width / 2 + gap / 2}
            width={Math.max(1, width - gap)}
            y={to}
            height={Math.max(1, from - to)}
          />
        );
      })}
    </g>
  );
}

/** One share as a bar, for tables. */
export function Meter({
  value,
  max,
  label,
  tone = "accent",
}: {
  value: number;
  max: number;
  label: string;
  tone?: string;
}) {
  return (
    <svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={label}>
      <rect class="track" width="100" height="8" rx="4" />
      <rect
        class={`bar ${tone}`}
        width={Math.max(0, Math.min(100, (100 * value) / (max || 1)))}
        height="8"
        rx="4"
      />
    </svg>
  );
}
