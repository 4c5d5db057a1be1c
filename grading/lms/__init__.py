"""What passes between the grader and a learning management system.

submission  a submission, and the names that an LMS gives to files
intake      an exported folder, an archive or one notebook becomes submissions
table       a CSV file in which single cells are changed
gradebooks  marks filled into the table that Canvas or Moodle exported
gradescope  the results.json of Gradescope's autograder
"""
