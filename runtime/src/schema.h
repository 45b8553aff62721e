// The layout of a .pte program.
// Made from schema.py by `python -m penlight.program.schema`; edit that instead.
//
// In a table's struct, each constant is the byte offset of that field's entry in the
// vtable; the comment gives the stored type. A union has two entries: its tag, then its
// table.
// clang-format off
#pragma once

#include <cstddef>
#include <cstdint>

namespace penlight::schema {

inline constexpr char file_identifier[] = "ET12";
inline constexpr uint32_t version = 0;
inline constexpr char header_magic[] = "eh00";
inline constexpr size_t header_offset = 8;
inline constexpr size_t header_length = 32;
inline constexpr size_t header_minimum_length = 24;

enum class ScalarType : int8_t {
    BYTE = 0,
    CHAR = 1,
    SHORT = 2,
    INT = 3,
    LONG = 4,
    HALF = 5,
    FLOAT = 6,
    DOUBLE = 7,
    BOOL = 11,
    QINT8 = 12,
    QUINT8 = 13,
    QINT32 = 14,
    BFLOAT16 = 15,
    QUINT4X2 = 16,
    QUINT2X4 = 17,
    BITS16 = 22,
    FLOAT8E5M2 = 23,
    FLOAT8E4M3FN = 24,
    FLOAT8E5M2FNUZ = 25,
    FLOAT8E4M3FNUZ = 26,
    UINT16 = 27,
    UINT32 = 28,
    UINT64 = 29,
};

enum class TensorShapeDynamism : int8_t {
    STATIC = 0,
    DYNAMIC_BOUND = 1,
    DYNAMIC_UNBOUND = 2,
};

enum class TensorDataLocation : int8_t {
    SEGMENT = 0,
    EXTERNAL = 1,
};

enum class DeviceType : int8_t {
    CPU = 0,
    CUDA = 1,
};

enum class DataLocation : int8_t {
    INLINE = 0,
    SEGMENT = 1,
};

enum class KernelTypes : uint8_t {
    NONE = 0,
    Null = 1,
    Int = 2,
    Bool = 3,
    Double = 4,
    Tensor = 5,
    String = 6,
    IntList = 7,
    DoubleList = 8,
    BoolList = 9,
    TensorList = 10,
    OptionalTensorList = 11,
};

enum class InstructionArguments : uint8_t {
    NONE = 0,
    KernelCall = 1,
    DelegateCall = 2,
    MoveCall = 3,
    JumpFalseCall = 4,
    FreeCall = 5,
};

struct ContainerMetadata {
    static constexpr uint16_t encoded_inp_str = 4;  // string
    static constexpr uint16_t encoded_out_str = 6;  // string
};

struct AllocationDetails {
    static constexpr uint16_t memory_id = 4;  // uint
    static constexpr uint16_t memory_offset_low = 6;  // uint
    static constexpr uint16_t memory_offset_high = 8;  // uint
};

struct ExtraTensorInfo {
    static constexpr uint16_t mutable_data_segments_idx = 4;  // ulong
    static constexpr uint16_t fully_qualified_name = 6;  // string
    static constexpr uint16_t location = 8;  // TensorDataLocation
    static constexpr uint16_t device_type = 10;  // DeviceType
    static constexpr uint16_t device_index = 12;  // byte
};

struct Tensor {
    static constexpr uint16_t scalar_type = 4;  // ScalarType
    static constexpr uint16_t storage_offset = 6;  // int
    static constexpr uint16_t sizes = 8;  // [int]
    static constexpr uint16_t dim_order = 10;  // [ubyte]
    static constexpr uint16_t requires_grad = 12;  // bool
    static constexpr uint16_t data_buffer_idx = 14;  // uint
    static constexpr uint16_t allocation_info = 16;  // AllocationDetails
    static constexpr uint16_t layout = 18;  // byte
    static constexpr uint16_t shape_dynamism = 20;  // TensorShapeDynamism
    static constexpr uint16_t extra_tensor_info = 22;  // ExtraTensorInfo
};

struct Int {
    static constexpr uint16_t int_val = 4;  // long
};

struct Bool {
    static constexpr uint16_t bool_val = 4;  // bool
};

struct Double {
    static constexpr uint16_t double_val = 4;  // double
};

struct String {
    static constexpr uint16_t string_val = 4;  // string
};

struct IntList {
    static constexpr uint16_t items = 4;  // [long]
};

struct DoubleList {
    static constexpr uint16_t items = 4;  // [double]
};

struct BoolList {
    static constexpr uint16_t items = 4;  // [bool]
};

struct TensorList {
    static constexpr uint16_t items = 4;  // [int]
};

struct OptionalTensorList {
    static constexpr uint16_t items = 4;  // [int]
};

struct EValue {
    static constexpr uint16_t val_type = 4;  // ubyte: KernelTypes
    static constexpr uint16_t val = 6;  // KernelTypes
};

struct Operator {
    static constexpr uint16_t name = 4;  // string
    static constexpr uint16_t overload = 6;  // string
};

struct KernelCall {
    static constexpr uint16_t op_index = 4;  // int
    static constexpr uint16_t args = 6;  // [int]
};

struct DelegateCall {
    static constexpr uint16_t delegate_index = 4;  // int
    static constexpr uint16_t args = 6;  // [int]
};

struct MoveCall {
    static constexpr uint16_t move_from = 4;  // int
    static constexpr uint16_t move_to = 6;  // int
};

struct JumpFalseCall {
    static constexpr uint16_t cond_value_index = 4;  // int
    static constexpr uint16_t destination_instruction = 6;  // int
};

struct FreeCall {
    static constexpr uint16_t value_index = 4;  // int
};

struct Instruction {
    static constexpr uint16_t instr_args_type = 4;  // ubyte: InstructionArguments
    static constexpr uint16_t instr_args = 6;  // InstructionArguments
};

struct Frame {
    static constexpr uint16_t filename = 4;  // string
    static constexpr uint16_t lineno = 6;  // int
    static constexpr uint16_t name = 8;  // string
    static constexpr uint16_t context = 10;  // string
};

struct FrameList {
    static constexpr uint16_t items = 4;  // [Frame]
};

struct BackendDelegateDataReference {
    static constexpr uint16_t location = 4;  // DataLocation
    static constexpr uint16_t index = 6;  // uint
};

struct CompileSpec {
    static constexpr uint16_t key = 4;  // string
    static constexpr uint16_t value = 6;  // [ubyte]
};

struct BackendDelegate {
    static constexpr uint16_t id = 4;  // string
    static constexpr uint16_t processed = 6;  // BackendDelegateDataReference
    static constexpr uint16_t compile_specs = 8;  // [CompileSpec]
};

struct Chain {
    static constexpr uint16_t inputs = 4;  // [int]
    static constexpr uint16_t outputs = 6;  // [int]
    static constexpr uint16_t instructions = 8;  // [Instruction]
    static constexpr uint16_t stacktrace = 10;  // [FrameList]
};

struct NonConstBufferDevice {
    static constexpr uint16_t buffer_idx = 4;  // int
    static constexpr uint16_t device_type = 6;  // DeviceType
    static constexpr uint16_t device_index = 8;  // byte
};

struct ExecutionPlan {
    static constexpr uint16_t name = 4;  // string
    static constexpr uint16_t container_meta_type = 6;  // ContainerMetadata
    static constexpr uint16_t values = 8;  // [EValue]
    static constexpr uint16_t inputs = 10;  // [int]
    static constexpr uint16_t outputs = 12;  // [int]
    static constexpr uint16_t chains = 14;  // [Chain]
    static constexpr uint16_t operators = 16;  // [Operator]
    static constexpr uint16_t delegates = 18;  // [BackendDelegate]
    static constexpr uint16_t non_const_buffer_sizes = 20;  // [long]
    static constexpr uint16_t non_const_buffer_device = 22;  // [NonConstBufferDevice]
};

struct Buffer {
    static constexpr uint16_t storage = 4;  // [ubyte]
};

struct BackendDelegateInlineData {
    static constexpr uint16_t data = 4;  // [ubyte]
};

struct DataSegment {
    static constexpr uint16_t offset = 4;  // ulong
    static constexpr uint16_t size = 6;  // ulong
};

struct SubsegmentOffsets {
    static constexpr uint16_t segment_index = 4;  // uint
    static constexpr uint16_t offsets = 6;  // [ulong]
};

struct NamedData {
    static constexpr uint16_t key = 4;  // string
    static constexpr uint16_t segment_index = 6;  // uint
};

struct Program {
    static constexpr uint16_t version = 4;  // uint
    static constexpr uint16_t execution_plan = 6;  // [ExecutionPlan]
    static constexpr uint16_t constant_buffer = 8;  // [Buffer]
    static constexpr uint16_t backend_delegate_data = 10;  // [BackendDelegateInlineData]
    static constexpr uint16_t segments = 12;  // [DataSegment]
    static constexpr uint16_t constant_segment = 14;  // SubsegmentOffsets
    static constexpr uint16_t mutable_data_segments = 16;  // [SubsegmentOffsets]
    static constexpr uint16_t named_data = 18;  // [NamedData]
};

}  // namespace penlight::schema
