"""What is known of each submission, and how it is shown.

record    a record as typed data, and as JSON      views      all files made from the records
store     records on disk: kept, resumed           gradebook  gradebook.csv and totals.csv
counting  which of several submissions counts      junit      junit.xml
                                                   feedback   a page for the learner
"""
