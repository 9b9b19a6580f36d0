/** How far the mask on screen and another version agree, and both outlines on the pictures side by side. */
import { useSignal, useSignalEffect } from '@preact/signals'
import { type Agreement, agreement, type Part } from './agreement'
import type { PartProps } from './panel'

const versionName = (version: number): string => (version === 0 ? 'the model’s answer' : `version ${version}`)

function Rows({ rows, voxelMl }: { rows: readonly Agreement[]; voxelMl: number }) {
  const ml = (voxels: number) => (voxels ? (voxels * voxelMl).toFixed(2) : '–')
  return (
    <table class="plain measures">
      <thead>
        <tr>
          <th scope="col">Part</th>
          <th scope="col" class="number">
            Dice
          </th>
          <th scope="col" class="number">
            Only here, ml
          </th>
          <th scope="col" class="number">
            Only there, ml
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ key, name, dice, onlyFirst, onlySecond }) => (
          <tr key={key} data-agreement={key} data-dice={dice?.toFixed(4) ?? 'none'}>
            <th scope="row">
              <abbr title={name}>{key}</abbr>
            </th>
            <td class="number">{dice === null ? '–' : dice.toFixed(2)}</td>
            <td class="number">{ml(onlyFirst)}</td>
            <td class="number">{ml(onlySecond)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

export function Difference({ scene, vocabulary }: PartProps) {
  const { state } = scene
  const rows = useSignal<Agreement[]>([])
  const versions = state.versions.value
  const parts: Part[] = [...vocabulary.labels.map(({ key, name, value }) => ({ key, name, labels: [value] }))]
  for (const region of vocabulary.regions) if (!parts.some(({ key }) => key === region.key)) parts.push(region)
  useSignalEffect(() => {
    // Anew with every stroke.
    void state.counts.value
    const other = state.against.value
    const here = scene.linked.drawn()
    rows.value = other && other.labels.length === here.length ? agreement(here, other.labels, parts) : []
  })
  if (versions.length < 2) return null
  const against = state.against.value?.version
  return (
    <section class="stack tight" aria-labelledby="difference-title" data-against={against ?? 'none'}>
      <h4 id="difference-title">Difference</h4>
      <label class="field">
        <span>What is on screen, against</span>
        <select
          name="against"
          value={against === undefined ? '' : String(against)}
          onChange={(event) => {
            const { value } = event.currentTarget
            void scene.linked.compareWith(value === '' ? null : Number(value))
          }}
        >
          <option value="">nothing</option>
          {versions.map(({ version }) => (
            <option key={version} value={String(version)}>
              {versionName(version)}
            </option>
          ))}
        </select>
      </label>
      {rows.value.length > 0 && (
        <>
          <Rows rows={rows.value} voxelMl={scene.voxelMl()} />
          <button
            type="button"
            class="scene-toggle"
            aria-pressed={state.sideBySide.value}
            onClick={() => void scene.sideBySide(!state.sideBySide.value)}
          >
            Both outlines on all sequences
          </button>
          <p class="scene-caption">The white outline there is {versionName(against ?? 0)}.</p>
        </>
      )}
    </section>
  )
}
