/** How a case is run: what most people leave alone. The server says which options there are. */
import type { Signal } from '@preact/signals'
import type { OptionTerm, RunChoice } from '../api/types'
import { chosenModel, models, vocabulary } from '../app/state'

type Value = string | boolean | null | undefined
type Given = Record<string, Value>

const read = (text: string): boolean | null => (text === '' ? null : text === 'yes')
const show = (value: Value): string => (value === null || value === undefined ? '' : value ? 'yes' : 'no')

interface FieldProps {
  option: OptionTerm
  value: Value
  set: (value: string | boolean | null) => void
}

/** One of the models that are installed, with a word on the one that would run. */
function Model(props: FieldProps) {
  const id = typeof props.value === 'string' ? props.value : null
  const [model, usual] = [chosenModel(id), chosenModel(null)]
  if (!models.value.length) return null
  return (
    <label class="field">
      <span>{props.option.title}</span>
      <select
        value={id ?? ''}
        onChange={(event) => props.set(event.currentTarget.value || null)}
        data-option={props.option.key}
      >
        <option value="">
          {props.option.choices[0]}: {usual?.title || usual?.id}
        </option>
        {models.value.map((entry) => (
          <option key={entry.id} value={entry.id}>
            {entry.title || entry.id}
          </option>
        ))}
      </select>
      {model && <small>{[model.licence && `Licence: ${model.licence}.`, model.note].filter(Boolean).join(' ')}</small>}
    </label>
  )
}

/** Nothing, yes or no. */
function Choice(props: FieldProps) {
  const [nothing, yes, no] = props.option.choices
  return (
    <label class="field">
      <span>{props.option.title}</span>
      <select
        value={show(props.value)}
        onChange={(event) => props.set(read(event.currentTarget.value))}
        data-option={props.option.key}
      >
        <option value="">{nothing}</option>
        <option value="yes">{yes}</option>
        <option value="no">{no}</option>
      </select>
      {props.option.hint && <small>{props.option.hint}</small>}
    </label>
  )
}

/** Yes or no. */
function Tick(props: FieldProps) {
  return (
    <label class="tick">
      <input
        type="checkbox"
        checked={Boolean(props.value ?? props.option.default)}
        onChange={(event) => props.set(event.currentTarget.checked)}
        data-option={props.option.key}
      />
      <span>
        {props.option.title}
        {props.option.hint && <small>{props.option.hint}</small>}
      </span>
    </label>
  )
}

const FORMS = { model: Model, choice: Choice, tick: Tick }

export function Options(props: { choice: Signal<RunChoice> }) {
  const { choice } = props
  const given = choice.value as Given
  return (
    <details class="fold">
      <summary>Options</summary>
      <div class="fold-body options">
        {vocabulary.value?.options.map((option) => {
          const Field = FORMS[option.form]
          const set = (value: string | boolean | null) => {
            choice.value = { ...choice.value, [option.key]: value }
          }
          return <Field key={option.key} option={option} value={given[option.key]} set={set} />
        })}
      </div>
    </details>
  )
}
