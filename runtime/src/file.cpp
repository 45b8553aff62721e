#include <cerrno>
#include <cstdio>
#include <cstring>

#include "program.h"

#if (defined(__unix__) || defined(__APPLE__)) && !defined(__EMSCRIPTEN__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define PENLIGHT_HAS_MMAP 1
#endif

namespace penlight {

namespace {
constexpr size_t data_alignment = 16;

Status cannot_open(const char* label, penlight_error* error) {
    Status status = errno == ENOENT ? Status::not_found : Status::io;
    return report(error, status, label,
                  "expected a file that can be read but got \"%s\"; check the path",
                  std::strerror(errno));
}
}  // namespace

File::~File() {
#ifdef PENLIGHT_HAS_MMAP
    if (mapped_) munmap(const_cast<std::byte*>(bytes_.data), bytes_.size);
#endif
}

#ifdef PENLIGHT_HAS_MMAP
Status File::open(const char* path, const char* label, const penlight_allocator& allocator,
                  penlight_error* error) {
    int descriptor = ::open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return cannot_open(label, error);
    struct stat facts{};
    void* memory = MAP_FAILED;
    bool regular = fstat(descriptor, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size > 0;
    if (regular)
        memory = mmap(nullptr, static_cast<size_t>(facts.st_size), PROT_READ, MAP_PRIVATE,
                      descriptor, 0);
    ::close(descriptor);
    if (memory != MAP_FAILED) {
        // What is not in the system's cache yet comes in large pages, which are read faster.
#ifdef MADV_HUGEPAGE
        (void)madvise(memory, static_cast<size_t>(facts.st_size), MADV_HUGEPAGE);
#endif
        mapped_ = true;
        bytes_ = {static_cast<const std::byte*>(memory), static_cast<size_t>(facts.st_size)};
        return Status::ok;
    }
    if (S_ISREG(facts.st_mode) && facts.st_size > 0) return read_all(path, label, allocator, error);
    return report(error, Status::invalid_program, label,
                  "expected a .pte file but got %s; check the path",
                  S_ISREG(facts.st_mode) ? "an empty file" : "something that is no regular file");
}
#else
Status File::open(const char* path, const char* label, const penlight_allocator& allocator,
                  penlight_error* error) {
    return read_all(path, label, allocator, error);
}
#endif

Status File::read_all(const char* path, const char* label, const penlight_allocator& allocator,
                      penlight_error* error) {
    std::FILE* stream = std::fopen(path, "rb");
    if (!stream) return cannot_open(label, error);
    long size = std::fseek(stream, 0, SEEK_END) == 0 ? std::ftell(stream) : -1;
    Status status = Status::ok;
    if (size <= 0 || std::fseek(stream, 0, SEEK_SET) != 0) {
        status = report(error, Status::invalid_program, label,
                        "expected a .pte file but got nothing to read; check the path");
    } else if (!copy_.allocate(allocator, static_cast<size_t>(size), data_alignment, false)) {
        status = report(error, Status::out_of_memory, label,
                        "expected %ld bytes of memory for the file but got none; free some", size);
    } else if (std::fread(copy_.data(), 1, copy_.size(), stream) != copy_.size()) {
        status =
            report(error, Status::io, label,
                   "expected %ld bytes but the file could not be read to its end; try again", size);
    } else {
        bytes_ = {copy_.data(), copy_.size()};
    }
    std::fclose(stream);
    return status;
}

Status File::borrow(const void* data, size_t size, const penlight_allocator& allocator,
                    penlight_error* error) {
    if (reinterpret_cast<uintptr_t>(data) % data_alignment == 0) {
        bytes_ = {static_cast<const std::byte*>(data), size};
        return Status::ok;
    }
    if (!copy_.allocate(allocator, size, data_alignment, false))
        return report(error, Status::out_of_memory, "program",
                      "expected %zu bytes of memory to align the program but got none; align its "
                      "data to 16 bytes",
                      size);
    std::memcpy(copy_.data(), data, size);
    bytes_ = {copy_.data(), size};
    return Status::ok;
}

}  // namespace penlight
