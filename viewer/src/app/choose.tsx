/** A button that lets the user choose a folder. */
import type { ComponentChildren } from 'preact'
import { type Found, filesChosen } from './folder'

export function ChooseFolder(props: {
  /** For tests, `data-file`. */
  name: string
  /** Gets the files of the folder and of those below it. */
  take: (files: Found[]) => void
  children: ComponentChildren
}) {
  return (
    <label class="button">
      {props.children}
      <input
        class="sr-only"
        type="file"
        ref={(input) => {
          if (input) input.webkitdirectory = true
        }}
        data-file={props.name}
        onChange={(event) => {
          const files = filesChosen([...(event.currentTarget.files ?? [])])
          // The same folder may be chosen again.
          event.currentTarget.value = ''
          props.take(files)
        }}
      />
    </label>
  )
}
