/** The user's own name for a case: asked for beside its title, kept with the session only. */
import { useSignal } from '@preact/signals'
import type { CaseOut } from '../api/types'
import { announce } from '../app/announce'
import { caseName } from '../app/format'
import { Act } from '../app/parts'
import { Popover } from '../app/popover'
import { api, noteLoss, takeCase } from '../app/state'
import { tellTabs } from '../app/tabs'

export function NameCase(props: { found: CaseOut }) {
  const { found } = props
  const label = useSignal(found.label)
  const save = async () => {
    try {
      const changed = await api.labelCase(found.id, label.value)
      takeCase(changed)
      tellTabs('changed')
      announce(`The case is called ${caseName(changed)}.`)
    } catch (error) {
      noteLoss(error, found.id)
    }
  }
  return (
    <Popover title="Rename" name="rename" look="button quiet small">
      <form
        class="stack tight"
        onSubmit={(event) => {
          event.preventDefault()
          void save()
        }}
      >
        <label class="field">
          <span>Your name for this case</span>
          <input
            type="text"
            name="label"
            maxLength={80}
            autocomplete="off"
            value={label.value}
            onInput={(event) => {
              label.value = event.currentTarget.value
            }}
          />
          <small>Please do not use a patient’s name. It stands in no file and is deleted with the session.</small>
        </label>
        <div class="row">
          <Act small kind="primary" act={save} busy="Saving…" name="save-label">
            Save
          </Act>
        </div>
      </form>
    </Popover>
  )
}
