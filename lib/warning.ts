/**
 * Warnings: what a caller should know about a result that is there all the same. Nothing is thrown for them.
 */

import { bounded } from './errors'

/** Every code an {@link IConFaceWarning} can carry. */
export const ICONFACE_WARNING_CODES = [
  /** The model's weights are random: it restores nothing. */
  'WARN_ICONFACE_RANDOM_WEIGHTS',
  /** A picture is not square: what lies beyond its centre was cut away. */
  'WARN_ICONFACE_CROPPED',
  /** No face was found in a picture; the message says what was done with it. */
  'WARN_ICONFACE_NO_FACE',
  /** A picture shows several faces where one is meant; the message says which was taken. */
  'WARN_ICONFACE_SEVERAL_FACES',
  /** A picture is so much larger than the model's that it may show more than a face. */
  'WARN_ICONFACE_REDUCED',
  /** A picture is so much smaller than the model's that little of a face can be in it. */
  'WARN_ICONFACE_ENLARGED',
  /** A reference resembles the other pictures so little that it may show somebody else. */
  'WARN_ICONFACE_OTHER_PERSON',
  /** The result's size is far from what the model was trained for. */
  'WARN_ICONFACE_SIZE',
  /** The decoder complains about a picture, all of which is there. */
  'WARN_ICONFACE_DAMAGED',
  /** A picture says what its colours are in a way that is not followed: they are taken for sRGB. */
  'WARN_ICONFACE_COLOURS',
  /** The kind of a photograph's colours cannot be kept: the result is in 8-bit sRGB. */
  'WARN_ICONFACE_CONVERTED',
  /** Tensors of the model's files are left out: those of a LoRA that are for the text encoder. */
  'WARN_ICONFACE_LEFT_OUT',
] as const

/** One of {@link ICONFACE_WARNING_CODES}. */
export type IConFaceWarningCode = (typeof ICONFACE_WARNING_CODES)[number]

/** A warning: its code for programs, its message for people, which is also what it is as a string. */
export class IConFaceWarning {
  readonly message: string

  /** @param message Names the picture and the figures, and says what to do. Long values are cut, as in errors. */
  constructor(
    readonly code: IConFaceWarningCode,
    message: string,
  ) {
    this.message = bounded(message)
  }

  /** The message. */
  toString(): string {
    return this.message
  }
}
