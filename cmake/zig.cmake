# Cross-compiles the runtime with zig (pip install ziglang), which carries headers and libraries for
# most systems:
#
#   cmake -B build/arm -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/zig.cmake \
#         -DPENLIGHT_TARGET=aarch64-linux-musl [-DZIG=path/to/zig]
#
# PENLIGHT_TARGET is one of zig's triples: aarch64-linux-gnu, wasm32-wasi, aarch64-macos,
# x86_64-windows-gnu, ... Instruction sets beyond the target's baseline are chosen at run time.
if(NOT PENLIGHT_TARGET)
  message(FATAL_ERROR "expected -DPENLIGHT_TARGET=<zig triple>, such as aarch64-linux-musl")
endif()
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES PENLIGHT_TARGET ZIG)

if(NOT ZIG)
  find_program(ZIG zig)
endif()
if(NOT ZIG)
  message(FATAL_ERROR "expected the zig compiler; pip install ziglang, or give -DZIG=path/to/zig")
endif()

if(PENLIGHT_TARGET MATCHES "^([^-]+)-([^-]+)")
  set(CMAKE_SYSTEM_PROCESSOR ${CMAKE_MATCH_1})
  set(penlight_system ${CMAKE_MATCH_2})
endif()
if(penlight_system STREQUAL "linux")
  set(CMAKE_SYSTEM_NAME Linux)
elseif(penlight_system STREQUAL "windows")
  set(CMAKE_SYSTEM_NAME Windows)
elseif(penlight_system MATCHES "macos|ios")
  set(CMAKE_SYSTEM_NAME Darwin)
else()
  set(CMAKE_SYSTEM_NAME Generic)  # wasm32-wasi
endif()

set(CMAKE_C_COMPILER ${ZIG} cc -target ${PENLIGHT_TARGET})
set(CMAKE_CXX_COMPILER ${ZIG} c++ -target ${PENLIGHT_TARGET})
foreach(language C CXX)
  set(CMAKE_${language}_ARCHIVE_CREATE "\"${ZIG}\" ar qc <TARGET> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_FINISH "\"${ZIG}\" ranlib <TARGET>")
endforeach()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
# Linking would first build the target's C++ library, which compiling alone does not need.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
