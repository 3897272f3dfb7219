import { Chart, Meter } from "../charts";
import { number, words } from "../format";
import { Card, Empty, EventLink, Table, When } from "../parts";
import type { AgentDetail, Fall, Score } from "../types";

export function ScoreCard({ score }: { score: Score | null }) {
  if (!score) {
    return (
      <Card title="Score">
        <Empty>No score yet. It follows the first events within seconds.</Empty>
      </Card>
    );
  }
  const tier = score.tier ? `tier ${score.tier}` : "below all tiers";
  return (
    <Card title="Score" aside={<When at={score.computedAt} />}>
      <p class="big">
        <b class="num">{number(score.composite, 1)}</b>
        <span>
          {score.composite === null ? "Too little is covered for a composite" : `of 100, ${tier}`}
          <br />
          <small>
            confidence {number(score.confidence, 2)}, {number(score.coveredWeight)} % of the weight covered
          </small>
        </span>
      </p>
      <Table label="Score by dimension">
        <thead>
          <tr>
            <th>Dimension</th>
            <th class="right">Weight</th>
            <th class="right">Score</th>
            <th class="wide">
              <span class="sr">Score as a bar</span>
            </th>
            <th class="right">Confidence</th>
          </tr>
        </thead>
        <tbody>
          {score.dimensions.map((one) => (
            <tr key={one.name} class={one.score === null ? "muted" : ""}>
              <td>{words(one.name)}</td>
              <td class="right num">{number(one.weight)}</td>
              <td class="right num">{number(one.score, 1)}</td>
              <td class="wide">
                {one.score !== null && (
                  <Meter value={one.score} max={100} label={`${number(one.score, 1)} of 100`} />
                )}
              </td>
              <td class="right num">{one.score === null ? "–" : number(one.confidence, 2)}</td>
            </tr>
          ))}
        </tbody>
      </Table>
    </Card>
  );
}

export function Nights({ of }: { of: AgentDetail["nights"] }) {
  if (of.length === 0) return <Empty>The first nightly score is computed at midnight (UTC).</Empty>;
  return (
    <Chart
      title="Composite"
      at={of.map((one) => Date.parse(`${one.day}T00:00:00Z`) / 1000)}
      bounds={[0, 100]}
      show={(value) => number(value, 1)}
      series={[{ name: "composite", colour: "accent", values: of.map((one) => one.composite) }]}
    />
  );
}

export function Falls({ of }: { of: Fall[] }) {
  return (
    <>
      {of.map((one) => (
        <details key={one.day} class="fall">
          <summary>
            <span class="chip major">fell</span> {number(one.previous, 1)} → {number(one.composite, 1)} on{" "}
            {one.day}
          </summary>
          <ul>
            {one.contributions
              .filter((part) => part.change !== 0)
              .map((part) => (
                <li key={part.dimension}>
                  {words(part.dimension)} <b class="num">{number(part.change, 2)}</b>
                </li>
              ))}
          </ul>
          {one.events.length > 0 && (
            <p>
              Events behind it:{" "}
              {one.events.map((event) => (
                <span key={event.eventId}>
                  <EventLink id={event.eventId} /> ({event.what}){" "}
                </span>
              ))}
            </p>
          )}
        </details>
      ))}
    </>
  );
}
