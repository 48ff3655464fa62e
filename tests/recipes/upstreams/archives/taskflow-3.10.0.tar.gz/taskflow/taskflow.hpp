#define TASKFLOW 1
