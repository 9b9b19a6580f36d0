/** How a case is run: what most people leave alone. */
import type { Signal } from '@preact/signals'
import type { RunChoice } from '../api/types'
import { chosenModel, models } from '../app/state'

const read = (text: string): boolean | null => (text === '' ? null : text === 'yes')
const show = (value: boolean | null | undefined): string =>
  value === null || value === undefined ? '' : value ? 'yes' : 'no'

export function Options(props: { choice: Signal<RunChoice> }) {
  const { choice } = props
  const set = (by: Partial<RunChoice>) => {
    choice.value = { ...choice.value, ...by }
  }
  const all = models.value
  const model = chosenModel(choice.value.model)
  return (
    <details class="fold">
      <summary>Options</summary>
      <div class="fold-body options">
        {all.length > 0 && (
          <label class="field">
            <span>Model</span>
            <select
              value={choice.value.model ?? ''}
              onChange={(event) => set({ model: event.currentTarget.value || null })}
              data-option="model"
            >
              <option value="">As the server prefers</option>
              {all.map((entry) => (
                <option key={entry.id} value={entry.id}>
                  {entry.title || entry.id}
                </option>
              ))}
            </select>
            {model && (
              <small>{[model.licence && `Licence: ${model.licence}.`, model.note].filter(Boolean).join(' ')}</small>
            )}
          </label>
        )}
        <label class="field">
          <span>The scans are preprocessed already</span>
          <select
            value={show(choice.value.preprocessed)}
            onChange={(event) => set({ preprocessed: read(event.currentTarget.value) })}
            data-option="preprocessed"
          >
            <option value="">Find out from the scans</option>
            <option value="yes">Yes: registered to one another, 1 mm, atlas space</option>
            <option value="no">No: as they came from the scanner</option>
          </select>
        </label>
        <label class="field">
          <span>Match brightness between scanners</span>
          <select
            value={show(choice.value.harmonize)}
            onChange={(event) => set({ harmonize: read(event.currentTarget.value) })}
            data-option="harmonize"
          >
            <option value="">As usual</option>
            <option value="yes">Yes</option>
            <option value="no">No</option>
          </select>
        </label>
        <label class="tick">
          <input
            type="checkbox"
            checked={choice.value.postprocess !== false}
            onChange={(event) => set({ postprocess: event.currentTarget.checked })}
            data-option="postprocess"
          />
          <span>
            Clean the mask by fixed rules
            <small>Removes tiny, doubtful pieces. The result shows what it changed.</small>
          </span>
        </label>
      </div>
    </details>
  )
}
