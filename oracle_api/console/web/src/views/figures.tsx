import { Chart } from "../charts";
import { band, millis, number, ruleText, share } from "../format";
import { Card, Facts, Severity, Table } from "../parts";
import { Link, path } from "../router";
import type { AgentDetail, OraclePoint, Point } from "../types";

/** How far back, and the width of an interval; seconds. */
export const WIDTHS: Record<string, [number, number]> = {
  "1h": [3_600, 60],
  "24h": [86_400, 900],
  "7d": [604_800, 7_200],
};

/** Points without gaps: every interval of the span, zero where nothing happened. */
function moments(data: AgentDetail, span: string): number[] {
  const [seconds, width] = WIDTHS[span] ?? [86_400, 900];
  const last = Math.floor(data.now / width) * width;
  return Array.from({ length: seconds / width }, (_, n) => last - (seconds / width - 1 - n) * width);
}

function spread<T extends { at: number }>(
  at: number[],
  points: T[],
  value: (point: T) => number | null,
  missing: number | null,
) {
  const known = new Map(points.map((one) => [one.at, one]));
  return at.map((moment) => {
    const found = known.get(moment);
    return found ? value(found) : missing;
  });
}

function sum(points: Point[], of: (point: Point) => number): number {
  return points.reduce((total, one) => total + of(one), 0);
}

export function Health({ data, span }: { data: AgentDetail; span: string }) {
  const at = moments(data, span);
  const calls = sum(data.points, (one) => one.calls);
  const errors = sum(data.points, (one) => one.errors);
  return (
    <Card title="Session health">
      <Facts
        of={[
          [
            "Sessions",
            <span key="s" class="num">
              {number(sum(data.points, (one) => one.sessions))}
            </span>,
          ],
          [
            "Tool calls",
            <span key="c" class="num">
              {number(calls)}
            </span>,
          ],
          [
            "Without error",
            <span key="e" class="num">
              {share(calls - errors, calls)}
            </span>,
          ],
        ]}
      />
      <div class="charts">
        <Chart
          title="Tool calls"
          kind="bar"
          at={at}
          show={(value) => number(value)}
          series={[
            {
              name: "ok",
              colour: "accent",
              values: spread(at, data.points, (one) => one.calls - one.errors, 0),
            },
            { name: "errors", colour: "red", values: spread(at, data.points, (one) => one.errors, 0) },
          ]}
        />
        <Chart
          title="Latency of tool calls"
          at={at}
          show={millis}
          series={["p50", "p95", "p99"].map((name, n) => ({
            name,
            colour: ["accent", "amber", "red"][n] ?? "accent",
            values: spread(at, data.points, (one) => one.latency[n] ?? null, null),
          }))}
        />
      </div>
    </Card>
  );
}

export function Compliance({ data, span, id }: { data: AgentDetail; span: string; id: string }) {
  const at = moments(data, span);
  const bound = sum(data.points, (one) => one.bound);
  const valid = sum(data.points, (one) => one.valid);
  return (
    <Card title="Pact compliance">
      <Facts
        of={[
          [
            "Bound calls",
            <span key="b" class="num">
              {number(bound)}
            </span>,
          ],
          [
            "Valid",
            <span key="v" class={`num ${band(valid, bound)}`}>
              {share(valid, bound, 2)}
            </span>,
          ],
          ...(["critical", "major", "minor", "info"] as const).map((name): [string, preact.JSX.Element] => [
            name,
            <span key={name} class="num">
              {number(sum(data.points, (one) => one[name]))}
            </span>,
          ]),
        ]}
      />
      <div class="charts">
        <Chart
          title="Valid calls"
          at={at}
          bounds={[90, 100]}
          show={(value) => (value === null ? "–" : `${number(value, 1)} %`)}
          bands={[{ value: 99.5, label: "99.5 %" }]}
          series={[
            {
              name: "valid",
              colour: "accent",
              values: spread(
                at,
                data.points,
                (one) => (one.bound ? (100 * one.valid) / one.bound : null),
                null,
              ),
            },
          ]}
        />
        <Chart
          title="Violations"
          kind="bar"
          at={at}
          show={(value) => number(value)}
          series={(
            [
              ["critical", "red"],
              ["major", "amber"],
              ["minor", "blue"],
              ["info", "grey"],
            ] as const
          ).map(([name, colour]) => ({
            name,
            colour,
            values: spread(at, data.points, (one) => one[name], 0),
          }))}
        />
      </div>
      {data.paths.length > 0 && (
        <Table label="Rules violated most">
          <thead>
            <tr>
              <th>Violated most</th>
              <th>Rule</th>
              <th>Severity</th>
              <th class="right">Times</th>
            </tr>
          </thead>
          <tbody>
            {data.paths.map((one) => (
              <tr key={`${one.paramPath} ${one.rule} ${one.severity}`}>
                <td>
                  <Link
                    to={`${path()}?agent=${id}&verdict=violated&path=${encodeURIComponent(one.paramPath)}`}
                  >
                    <code>{one.paramPath || "(call)"}</code>
                  </Link>
                </td>
                <td>{ruleText(one.rule)}</td>
                <td>
                  <Severity of={one.severity} />
                </td>
                <td class="right num">{number(one.count)}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
    </Card>
  );
}

export function OracleHealth({ data, span }: { data: AgentDetail; span: string }) {
  const at = moments(data, span);
  const total = (of: (point: OraclePoint) => number) => data.oracle.reduce((sum, one) => sum + of(one), 0);
  const checks = total((one) => one.checks);
  return (
    <Card title="Oracle health" aside="of the whole deployment">
      <Facts
        of={[
          [
            "Queries",
            <span key="q" class="num">
              {number(total((one) => one.queries))}
            </span>,
          ],
          [
            "Answered",
            <span key="a" class="num">
              {share(
                total((one) => one.queries - one.failures),
                total((one) => one.queries),
                2,
              )}
            </span>,
          ],
          [
            "Signatures that hold",
            <span key="c" class="num">
              {share(checks - total((one) => one.failedChecks), checks, 2)}
            </span>,
          ],
        ]}
      />
      <div class="charts">
        <Chart
          title="Time to answer"
          at={at}
          show={millis}
          series={["p50", "p95", "p99"].map((name, n) => ({
            name,
            colour: ["accent", "amber", "red"][n] ?? "accent",
            values: spread(at, data.oracle, (one) => one.latency[n] ?? null, null),
          }))}
        />
        <Chart
          title="Arrival to seal"
          at={at}
          show={(value) => (value === null ? "–" : `${number(value, 1)} s`)}
          series={[
            {
              name: "longest",
              colour: "accent",
              values: spread(at, data.oracle, (one) => one.lagSeconds, null),
            },
          ]}
        />
      </div>
    </Card>
  );
}
