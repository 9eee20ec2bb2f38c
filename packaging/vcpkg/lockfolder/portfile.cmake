# The port builds the sources of the clone that it is in: `vcpkg install lockfolder --overlay-ports=packaging/vcpkg`. vcpkg does not bring
# Rust, so `cargo` must be there. See docs/packages.md.
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

find_program(CARGO cargo PATHS "$ENV{HOME}/.cargo/bin")
if(NOT CARGO)
  message(FATAL_ERROR "lockfolder is built by Rust, and there is no cargo: https://rustup.rs")
endif()

# Rust's release profile serves a debug build of a program too: the interface is C.
set(VCPKG_BUILD_TYPE release)
if(VCPKG_LIBRARY_LINKAGE STREQUAL "dynamic")
  set(kind shared)
else()
  set(kind static)
endif()

set(build "${CURRENT_BUILDTREES_DIR}/${TARGET_TRIPLET}-rel")
set(out "${CURRENT_BUILDTREES_DIR}/${TARGET_TRIPLET}-out")
file(REMOVE_RECURSE "${out}")
vcpkg_execute_required_process(
  COMMAND "${CMAKE_COMMAND}" -E env "CARGO=${CARGO}" "${SOURCE_PATH}/packaging/libraries" "${kind}" "${out}" "${build}"
  WORKING_DIRECTORY "${SOURCE_PATH}"
  LOGNAME "build-${TARGET_TRIPLET}-rel")

# The .pc file names its paths relative to itself already.
file(COPY "${out}/include" "${out}/lib" DESTINATION "${CURRENT_PACKAGES_DIR}")

file(READ "${out}/native-static-libs" LIBRARIES)
separate_arguments(LIBRARIES)
file(STRINGS "${SOURCE_PATH}/Cargo.toml" VERSION REGEX "^version = ")
list(GET VERSION 0 VERSION)
string(REGEX REPLACE ".*\"(.*)\"" "\\1" VERSION "${VERSION}")
string(TOUPPER "${kind}" KIND)
file(GLOB library RELATIVE "${out}/lib" "${out}/lib/liblockfolder.a" "${out}/lib/liblockfolder.so.${VERSION}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/lockfolder-config.cmake.in" "${CURRENT_PACKAGES_DIR}/share/${PORT}/lockfolder-config.cmake" @ONLY)
configure_file("${SOURCE_PATH}/packaging/cmake/lockfolder-config-version.cmake.in"
  "${CURRENT_PACKAGES_DIR}/share/${PORT}/lockfolder-config-version.cmake" @ONLY)

file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
