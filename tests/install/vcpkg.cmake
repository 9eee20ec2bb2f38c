# Runs the port's portfile.cmake without vcpkg, which no package registry has. What vcpkg would give it is given here: the variables of a
# triplet, and the two functions that the port calls, as their documentation describes them.
#
#     cmake -DROOT=PROJECT -DWORK=FOLDER -DLINKAGE=static|dynamic -P tests/install/vcpkg.cmake
set(PORT lockfolder)
set(TARGET_TRIPLET x64-linux)
set(VCPKG_LIBRARY_LINKAGE "${LINKAGE}")
set(CURRENT_BUILDTREES_DIR "${WORK}/buildtrees")
set(CURRENT_PACKAGES_DIR "${WORK}/packages")

function(vcpkg_execute_required_process)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "WORKING_DIRECTORY;LOGNAME" "COMMAND")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "vcpkg_execute_required_process does not know: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  execute_process(COMMAND ${arg_COMMAND} WORKING_DIRECTORY "${arg_WORKING_DIRECTORY}" RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${arg_LOGNAME}: ${failed}")
  endif()
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "COMMENT" "FILE_LIST")
  file(INSTALL "${arg_FILE_LIST}" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}" RENAME copyright)
endfunction()

set(CMAKE_CURRENT_LIST_DIR "${ROOT}/packaging/vcpkg/lockfolder")
include("${ROOT}/packaging/vcpkg/lockfolder/portfile.cmake")
