/**
 * The names a PyTorch checkpoint of tensors needs, and what they stand for here: descriptions of tensors and storages,
 * dicts, and placeholders for what Lightning adds. Any other name is refused.
 */
import { type DType, dtypeBits, elementCount } from './dtype'
import { type PickleEnvironment, PickleRefusal } from './pickle'
import {
  describePickle,
  PickleDict,
  PickleGlobal,
  PickleList,
  PickleObject,
  PickleTuple,
  type PickleValue,
} from './pickle-values'

/** More axes than any file in use has; the same limit as for safetensors. */
const MAX_RANK = 64

/** A block of memory that tensors are views of. */
export class StorageReference extends PickleObject {
  /**
   * @param key    its name in the file
   * @param dtype  of its elements; `undefined` when the tensors tell (UntypedStorage, counted in bytes)
   * @param bytes  as the pickle says; what the file says is compared with it
   */
  constructor(
    readonly key: string,
    readonly dtype: DType | undefined,
    readonly bytes: number,
  ) {
    super()
  }
}

/** A view of a storage, checked to lie within it. */
export class TensorReference extends PickleObject {
  /**
   * @param offset   of its first element, in elements
   * @param strides  steps from element to element along each axis, in elements
   */
  constructor(
    readonly storage: StorageReference,
    readonly dtype: DType,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
    readonly offset: number,
  ) {
    super()
  }
}

/** An object that is not rebuilt: only what made it is known. */
export class Placeholder extends PickleObject {
  override readonly ignoresState = true

  constructor(readonly className: string) {
    super()
  }
}

/** The element types of `torch.<Type>Storage`. */
const STORAGE_DTYPES: Readonly<Record<string, DType>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
}

/** `torch.<name>`, the types of tensors of an untyped storage. */
const TORCH_DTYPES: Readonly<Record<string, DType>> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  int32: 'I32',
  int16: 'I16',
  int8: 'I8',
  uint8: 'U8',
  bool: 'BOOL',
}

/**
 * Classes that appear in training checkpoints beside the weights: hyper parameters, callbacks, scores. Nothing of them
 * is rebuilt; a dict subclass becomes a dict, everything else a {@link Placeholder}.
 */
const PLACEHOLDERS = [
  'argparse.Namespace',
  'numpy.core.multiarray.scalar',
  'numpy._core.multiarray.scalar',
  'numpy.dtype',
  '_codecs.encode',
  'pathlib.PosixPath',
  'pathlib.WindowsPath',
  'torch.device',
  ...['pytorch_lightning', 'lightning.pytorch'].flatMap((lightning) => [
    `${lightning}.callbacks.model_checkpoint.ModelCheckpoint`,
    `${lightning}.callbacks.early_stopping.EarlyStopping`,
    `${lightning}.callbacks.lr_monitor.LearningRateMonitor`,
    `${lightning}.callbacks.progress.ProgressBar`,
    `${lightning}.callbacks.gradient_accumulation_scheduler.GradientAccumulationScheduler`,
  ]),
]

const DICTS = [
  'collections.OrderedDict',
  'collections.Counter',
  'pytorch_lightning.utilities.parsing.AttributeDict',
  'lightning.fabric.utilities.data.AttributeDict',
  'lightning_fabric.utilities.data.AttributeDict',
]

const UNTYPED_STORAGES = ['torch.storage.UntypedStorage', 'torch.UntypedStorage', 'torch.storage._UntypedStorage']

/** Every name that a checkpoint may use, by module and name with a dot between. */
const GLOBALS: ReadonlyMap<string, PickleGlobal> = new Map(
  [
    new PickleGlobal('torch._utils._rebuild_tensor', rebuildTensor),
    new PickleGlobal('torch._utils._rebuild_tensor_v2', rebuildTensor),
    new PickleGlobal('torch._utils._rebuild_tensor_v3', rebuildTensorOfUntyped),
    new PickleGlobal('torch._utils._rebuild_parameter', rebuildParameter),
    new PickleGlobal('torch.Size', ([items]) => new PickleTuple(items === undefined ? [] : sequence(items))),
    ...Object.keys(STORAGE_DTYPES).map((name) => new PickleGlobal(`torch.${name}`)),
    ...Object.keys(TORCH_DTYPES).map((name) => new PickleGlobal(`torch.${name}`)),
    ...UNTYPED_STORAGES.map((name) => new PickleGlobal(name)),
    ...DICTS.map((name) => new PickleGlobal(name, makeDict)),
    ...PLACEHOLDERS.map((name) => new PickleGlobal(name, () => new Placeholder(name))),
  ].map((global) => [global.name, global]),
)

/** What the pickles of a checkpoint may ask for. */
export function pytorchEnvironment(name: string): PickleEnvironment {
  // A storage is the same object wherever it is named, so that what is known about it is known everywhere.
  const storages = new Map<string, StorageReference>()
  return {
    name,
    global: (module, global) => GLOBALS.get(`${module}.${global}`),
    persistent(id) {
      const storage = readStorageId(id)
      const known = storages.get(storage.key)
      if (known && (known.bytes !== storage.bytes || known.dtype !== storage.dtype)) {
        throw new PickleRefusal(`storage "${storage.key}" is described twice, and differently`)
      }
      if (!known) storages.set(storage.key, storage)
      return known ?? storage
    },
  }
}

/** `('storage', type, key, device, elements)`; the first versions of PyTorch have a sixth item, of views. */
function readStorageId(id: PickleValue): StorageReference {
  if (!(id instanceof PickleTuple)) throw new PickleRefusal(`${describePickle(id)} names no storage`)
  const [kind, type, key, , elements, view] = id.items
  if (kind === 'module')
    throw new PickleRefusal('a whole module with its code was saved; save its state_dict() instead')
  if (kind !== 'storage' || !(type instanceof PickleGlobal) || typeof key !== 'string' || (view ?? null) !== null) {
    throw new PickleRefusal(`${describePickle(kind ?? null)} is no storage of a kind read here`)
  }
  const untyped = UNTYPED_STORAGES.includes(type.name)
  const dtype = STORAGE_DTYPES[type.name.replace(/^torch\./, '')]
  if (!untyped && dtype === undefined) throw new PickleRefusal(`${type.name} is no type of storage`)
  const bytes = size(elements, 'the number of elements') * (dtype === undefined ? 1 : dtypeBits(dtype) / 8)
  if (!Number.isSafeInteger(bytes)) throw new PickleRefusal(`storage "${key}" is impossibly large`)
  return new StorageReference(key, dtype, bytes)
}

/** `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`. */
function rebuildTensor([storage, offset, shape, strides]: readonly PickleValue[]): TensorReference {
  if (!(storage instanceof StorageReference)) throw new PickleRefusal('the first argument is no storage')
  if (storage.dtype === undefined) throw new PickleRefusal(`storage "${storage.key}" has no type of elements`)
  return view(storage, storage.dtype, offset, shape, strides)
}

/** `_rebuild_tensor_v3(storage, offset, shape, strides, requires_grad, hooks, dtype)`. */
function rebuildTensorOfUntyped(args: readonly PickleValue[]): TensorReference {
  const [storage, offset, shape, strides, , , type] = args
  const dtype = type instanceof PickleGlobal ? TORCH_DTYPES[type.name.replace(/^torch\./, '')] : undefined
  if (!(storage instanceof StorageReference)) throw new PickleRefusal('the first argument is no storage')
  if (dtype === undefined) throw new PickleRefusal(`${describePickle(type ?? null)} is no type of elements read here`)
  return view(storage, dtype, offset, shape, strides)
}

/** `_rebuild_parameter(tensor, requires_grad, hooks)`. */
function rebuildParameter([tensor]: readonly PickleValue[]): TensorReference {
  if (!(tensor instanceof TensorReference)) throw new PickleRefusal('the first argument is no tensor')
  return tensor
}

function view(storage: StorageReference, dtype: DType, ...layout: (PickleValue | undefined)[]): TensorReference {
  const offset = size(layout[0], 'the offset')
  const shape = sequence(layout[1]).map((item) => size(item, 'a size'))
  const strides = sequence(layout[2]).map((item) => size(item, 'a stride'))
  if (shape.length !== strides.length || shape.length > MAX_RANK) {
    throw new PickleRefusal(`${shape.length} sizes (at most ${MAX_RANK}) and ${strides.length} strides do not match`)
  }
  const elements = elementCount(shape)
  if (elements === undefined) throw new PickleRefusal(`the shape [${shape.join(', ')}] is too large`)
  const held = Math.floor(storage.bytes / (dtypeBits(dtype) / 8))
  const end = elements === 0 ? 0 : shape.reduce((last, size, axis) => last + (size - 1) * strides[axis]!, offset) + 1
  if (!(end <= held)) {
    const what = `[${shape.join(', ')}] with strides [${strides.join(', ')}] from ${offset}`
    throw new PickleRefusal(`a tensor ${what} reaches element ${end} of storage "${storage.key}", which has ${held}`)
  }
  return new TensorReference(storage, dtype, shape, strides, offset)
}

/** `OrderedDict()`, or with pairs (as lists or tuples of two) or another dict. */
function makeDict([contents]: readonly PickleValue[]): PickleDict {
  const dict = new PickleDict()
  if (contents === undefined) return dict
  if (contents instanceof PickleDict) {
    for (const [key, value] of contents.entries) dict.entries.set(key, value)
    return dict
  }
  for (const pair of sequence(contents)) {
    const [key, value] = sequence(pair)
    if (key === undefined || value === undefined) throw new PickleRefusal('a key has no value')
    dict.entries.set(key, value)
  }
  return dict
}

function sequence(value: PickleValue | undefined): readonly PickleValue[] {
  if (value instanceof PickleTuple || value instanceof PickleList) return value.items
  throw new PickleRefusal(`${describePickle(value ?? null)} is no list`)
}

function size(value: PickleValue | undefined, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new PickleRefusal(`expected a whole number from 0 for ${what} but received ${describePickle(value ?? null)}`)
}
