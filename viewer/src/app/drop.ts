/** A part of the page that takes dropped files. */
import { type Signal, useSignal } from '@preact/signals'

export interface DropTarget {
  /** Whether something is held over it. */
  over: Signal<boolean>
  /** What its element listens to. */
  on: {
    onDragOver: (event: DragEvent) => void
    onDragLeave: (event: DragEvent) => void
    onDrop: (event: DragEvent) => void
  }
}

/** `take` gets what was dropped; where it answers false, whatever lies around the part gets it. */
export function useDrop(take: (data: DataTransfer) => boolean | undefined): DropTarget {
  const over = useSignal(false)
  return {
    over,
    on: {
      onDragOver: (event) => {
        event.preventDefault()
        over.value = true
      },
      onDragLeave: (event) => {
        const { relatedTarget, currentTarget } = event
        const inside =
          relatedTarget instanceof Node && currentTarget instanceof Node && currentTarget.contains(relatedTarget)
        if (!inside) over.value = false
      },
      onDrop: (event) => {
        over.value = false
        if (!event.dataTransfer || take(event.dataTransfer) === false) return
        event.preventDefault()
        event.stopPropagation()
      },
    },
  }
}

/** Folders and files of a drop. To be asked at once: the list is empty as soon as anything waits. */
export const entriesOf = (data: DataTransfer): FileSystemEntry[] =>
  [...data.items].flatMap((item) => item.webkitGetAsEntry?.() ?? [])
