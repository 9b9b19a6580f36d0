/** The tab with the diameters of each lesion, of the mask that is current. */
import { type Signal, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { asProblem } from '../api/errors'
import type { CaseOut, FileOut } from '../api/types'
import { ml, plural } from '../app/format'
import {
  axialOf,
  factsName,
  type Lesion,
  type Measured,
  measurableWords,
  measuredOf,
  type Point,
  placeOf,
  ruleSentence,
} from '../app/measured'
import { Act, Notice } from '../app/parts'
import { api, vocabulary } from '../app/state'

function Line(props: { lesion: Lesion; goTo: Signal<Point | null> }) {
  const { lesion, goTo } = props
  const axial = axialOf(lesion)
  return (
    <tr data-lesion={lesion.number} data-target={lesion.target}>
      <th scope="row">
        <button
          type="button"
          class="link"
          onClick={() => {
            goTo.value = placeOf(lesion)
          }}
        >
          <span class="sr-only">Show lesion </span>
          {lesion.number}
        </button>
      </th>
      <td class="number">
        {axial ? (
          <>
            <span class="nobreak">
              {axial.long.mm.toFixed(1)} × {axial.short.mm.toFixed(1)}
            </span>
            <span class="soft block nobreak small-text">{axial.product_mm2.toFixed(0)} mm²</span>
          </>
        ) : (
          '–'
        )}
      </td>
      <td class="number nobreak">{ml(lesion.ml)}</td>
      <td>
        {measurableWords(lesion)} {lesion.target && <span class="badge nobreak">Target</span>}
      </td>
    </tr>
  )
}

function Table(props: { measured: Measured; goTo: Signal<Point | null> }) {
  const { measured, goTo } = props
  const docs = vocabulary.value?.links.docs?.replace(/index\.html$/, 'explanation/diameters.html')
  return (
    <>
      {measured.lesions.length === 0 ? (
        <p>No lesion is large enough to be measured.</p>
      ) : (
        <table class="plain measures">
          <thead>
            <tr>
              <th scope="col">No.</th>
              <th scope="col" class="number">
                Axial, mm
              </th>
              <th scope="col" class="number">
                ml
              </th>
              <th scope="col">Measurable</th>
            </tr>
          </thead>
          <tbody>
            {measured.lesions.map((lesion) => (
              <Line key={lesion.number} lesion={lesion} goTo={goTo} />
            ))}
          </tbody>
        </table>
      )}
      {measured.lesions.some(({ target }) => target) && (
        <dl class="facts">
          <dt>Sum of products</dt>
          <dd data-sum={measured.sum_of_products_mm2}>{measured.sum_of_products_mm2.toFixed(0)} mm²</dd>
          <dt>Sum of longest</dt>
          <dd>{measured.sum_of_longest_mm.toFixed(1)} mm</dd>
        </dl>
      )}
      <p class="soft small-text">
        {measured.smaller > 0 &&
          `${plural(measured.smaller, 'smaller part')} (below ${measured.rule.least_ml} ml) not measured. `}
        {ruleSentence(measured)} {docs && <a href={docs}>How lesions are measured</a>}
      </p>
    </>
  )
}

export function MeasureTab(props: { found: CaseOut; files: FileOut[]; shown: boolean; goTo: Signal<Point | null> }) {
  const { found, files, shown } = props
  const state = useSignal<{ name: string; measured: Measured | null; problem: string } | null>(null)
  const name = factsName(files, found.version)
  const load = async () => {
    if (!name) return
    try {
      const facts: unknown = JSON.parse(new TextDecoder().decode(await api.fileBytes(api.fileUrl(found.id, name))))
      state.value = { name, measured: measuredOf(facts), problem: '' }
    } catch (error) {
      state.value = { name, measured: null, problem: asProblem(error).message }
    }
  }
  // Only when it is looked at: every file that is fetched counts as a download.
  const wanted = shown && name !== null && state.value?.name !== name
  useEffect(() => {
    if (wanted) void load()
  }, [wanted, name])
  const now = state.value?.name === name ? state.value : null
  return (
    <section
      class="card"
      aria-labelledby="measure-title"
      data-measured={now ? (now.measured?.lesions.length ?? 'none') : 'loading'}
    >
      <h2 id="measure-title">Diameters of lesions</h2>
      {found.version > 0 && <p class="soft small-text">Of your correction {found.version}.</p>}
      {!now && <p role="status">Loading…</p>}
      {now?.problem && (
        <Notice tone="bad">
          <p>{now.problem}</p>
          <Act small act={load}>
            Try again
          </Act>
        </Notice>
      )}
      {now &&
        !now.problem &&
        (now.measured ? <Table measured={now.measured} goTo={props.goTo} /> : <p>This result holds no diameters.</p>)}
    </section>
  )
}
