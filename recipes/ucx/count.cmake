# Says how many compilers the build is going to start, so that whoever waits for it can be told how far it is.
#
# Input: MAKE. It runs in the configured build folder. Where make cannot tell, nothing is said: only the display goes without.

cmake_minimum_required(VERSION 3.25)

execute_process(COMMAND "${MAKE}" --dry-run --keep-going
  OUTPUT_VARIABLE commands ERROR_QUIET RESULT_VARIABLE ignored)
# Each of these is the line that automake shows for a command.
string(REGEX MATCHALL "echo \"  (CC|CXX|CCLD|CXXLD) " lines "${commands}")
list(LENGTH lines count)
if(count)
  message(STATUS "${count} lines of compilers to come")
endif()
